echo "@@ version"; nft --version
