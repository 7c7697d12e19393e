module github.com/gopool-sv2/gopool-sv2/tests/sv2client

go 1.26.0

require (
	github.com/btcsuite/btcd/btcec/v2 v2.5.0
	golang.org/x/crypto v0.57.0
)

require (
	github.com/btcsuite/btcd/chainhash/v2 v2.0.0 // indirect
	github.com/decred/dcrd/crypto/blake256 v1.1.0 // indirect
	github.com/decred/dcrd/dcrec/secp256k1/v4 v4.4.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
