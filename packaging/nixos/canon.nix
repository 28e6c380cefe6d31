# Functions that canonicalize images of NixOS, given the package.
{ ext4-canon }:

let
  canonicalize =
    { epoch, options }:
    image:
    "${ext4-canon}/bin/ext4-canon --source-date-epoch ${toString epoch} ${options} --in-place \"${image}\"\n";

  # All files in the Nix store have the mtime 1.
  defaults = {
    epoch = 1;
    options = "";
  };
in
{
  # For make-disk-image.nix, with format = "raw": postVM = canon.postVM { };
  postVM = settings: canonicalize (defaults // settings) "$diskImage";

  # For the result of make-ext4-fs.nix, if it is not compressed:
  # canon.ext4Fs { } (pkgs.callPackage ... { ... })
  ext4Fs =
    settings: image:
    image.overrideAttrs (old: {
      buildCommand = old.buildCommand + canonicalize (defaults // settings) "$out";
    });
}
