{
  description = "Canonical ext2, ext3 and ext4 images";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = build: nixpkgs.lib.genAttrs systems (system: build nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.callPackage ./package.nix { };
      });

      # This defines lib.SYSTEM.postVM and lib.SYSTEM.ext4Fs.
      lib = each (
        pkgs: import ./canon.nix { ext4-canon = self.packages.${pkgs.stdenv.hostPlatform.system}.default; }
      );
    };
}
