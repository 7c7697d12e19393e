// Package interop tests the whole line with Stratum V2 programs that others have written and published:
// they mine on the real sidecar and minipool, and their own counts must agree with the pool's books.
//
// The tests find everything by environment variables, which tests/interop/run sets; make interop is
// the way to start them. docs/interop.md tells which peers there are and what is proven with them.
//
// The module has no dependencies: the peers are programs, and the Stratum V1 miner that works behind
// their proxy (package sv1) needs the standard library only.
package interop
