{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
}:

rustPlatform.buildRustPackage {
  pname = "ext4-canon";
  version = (lib.importTOML ../../Cargo.toml).package.version;
  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];

  # The other tests need root and loop devices.
  cargoTestFlags = [ "--lib" ];

  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    "$out/bin/ext4-canon" --generate man >ext4-canon.1
    "$out/bin/ext4-canon" --generate bash >ext4-canon.bash
    "$out/bin/ext4-canon" --generate zsh >ext4-canon.zsh
    "$out/bin/ext4-canon" --generate fish >ext4-canon.fish
    installManPage ext4-canon.1
    installShellCompletion ext4-canon.{bash,zsh,fish}
  '';

  meta = {
    description = "Turns any ext2/3/4 image into the canonical image of the same file tree";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "ext4-canon";
    platforms = lib.platforms.linux;
  };
}
