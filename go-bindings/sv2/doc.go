// Package sv2 is what a Go mining pool implements to be reached over Stratum V2.
//
// A carrier (package grpchost, for a sidecar process) takes miners' messages to a [Host] and brings its
// jobs and verdicts back, by the rules of package session. Code written against Host doesn't know which
// carrier runs it.
//
// Who decides what: the host decides who may mine, the extranonce prefix, the coinbase, jobs, targets,
// duplicates, verdicts and credit. The carrier decides everything of the wire: job ids, the order of
// answers, acknowledgements, limits, back pressure.
//
// Two ways to write a host:
//   - make a [Pool] with [NewPool] and give it jobs; verdicts come from the share check in this package ([Check]);
//   - implement [Host] and [Channel] yourself.
//
// Conventions: [Hash] and [Target] are 32 bytes in internal (header) order, which read as a number are
// little-endian; difficulty is "pdiff", where 1 is the target 0x00000000FFFF << 208; ntime is unix
// seconds. Text that comes from a miner (user identity, vendor, worker) is opaque bytes: escape it
// before it reaches a log, a page or a query.
package sv2
