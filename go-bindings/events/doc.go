// Package events takes what sidecars tell of what happened: connections, channels, sums of shares, and what
// the mint bridge does with accepted work. It is the server's side of gopool.sv2.v1.EventService, whatever
// carries it: [Server.Serve] for gRPC, and for the listener in this process.
//
// A pool that wants to hear implements [Sink] and gives it to the carrier's options. Events come at least
// once and in order; this package drops what the sink has already, so that it sees each once, as long as
// what it says it has is true.
package events
