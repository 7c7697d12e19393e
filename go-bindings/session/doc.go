// Package session is a host's side of the contract: the sessions of sidecars, over streams that come and
// go, whatever carries them. Package grpchost brings it streams of gRPC. What is said here holds for every
// carrier.
//
//	server, err := session.New(host, session.Options{Software: "minipool 1.0"})
//	err = server.Serve(stream)       // for each stream that a sidecar opens, on its own goroutine
//	err = server.Shutdown(ctx)       // sidecars are told, and what is in flight is answered
//	err = pool.Close(ctx)            // the host last: until here it may be asked
//
// A carrier turns away sidecars that speak another version than [Protocol], brings a [Stream] or a
// [BatchStream], tells the sidecar the error that Serve returns, ends the stream then, and finds out when
// a peer is dead. To stop, it tells whoever asks that it does, calls [Server.Shutdown] or [Server.Stop],
// and then ends its connections: by then all streams have been ended.
//
// A [Session] is a sidecar's channels and submits. It outlives its stream by Options.ResumeWindow: the
// sidecar comes back to it on another stream, and neither misses what happened meanwhile, nor does the
// host notice. Of streams that want the same session the newest has it.
//
// Each stream has one goroutine that receives, one that sends, and each channel up to one while its host
// is busy; a session without a stream has none of its own. A bounded outbox stands between the host and
// the sender, so that a host never waits for a sidecar. When the outbox is full the stream is ended.
//
// What is kept for a sidecar that may come back is bounded: of each channel the newest job, target and
// updates, Options.VerdictRing verdicts, some kicks and block results, and no more than 64 sessions.
//
// What a host is promised, beyond what package sv2 says:
//   - lengths, ids and ranges of everything that arrives were checked;
//   - Submit comes on the receiving goroutine, at once and whatever the channel is busy with, so it must
//     return at once; what was received before a close or the end of the session comes before Close;
//   - no submit comes twice, nor an update that the host took, however often the sidecar has to send it;
//   - other calls on one Channel come one at a time and in the order the sidecar sent them;
//   - a channel whose host is slow to answer Update or Close holds up no other channel;
//   - when a session ends, however it ends, every channel of it is closed unless the host kicked it;
//   - shares that were accepted, but of which the miner was told otherwise, are withdrawn, if the host's
//     channels are [sv2.Withdrawer]s.
package session
