// Package sv2client is a Stratum V2 mining client: encryption, channels, jobs and shares.
//
// It follows the specification and shares no code with the listener or with the Stratum Reference
// Implementation, so that a misreading on one side shows up as a failing test. Chapters in comments are
// those of https://github.com/stratum-mining/sv2-spec.
//
//	url, err := sv2client.ParseURL("stratum2+tcp://pool.example.com:3336/AUTHORITY_KEY")
//	client, err := sv2client.Dial(ctx, url, sv2client.Config{})
//	defer client.Close()
//	channel, err := client.OpenExtended(ctx, sv2client.OpenRequest{User: "ADDRESS.rig", HashRate: 1e6}, 4)
//	work, err := channel.WaitWork(ctx, 0)
//	// search a header that meets work.Target
//	sequence, err := channel.Submit(ctx, share)
//	err = channel.WaitAnswers(ctx)
//	fmt.Println(channel.Tally().Accepted)
//
// Package cpuminer beneath it does the searching. There are three layers, and each can be used alone:
//
//   - a [Message] is one message of the protocol; [Encode] and [Decode] turn it into bytes and back;
//   - a [Conn] is an encrypted connection that carries messages; [Handshake] makes one;
//   - a [Client] sets a connection up, reads it, and keeps the state of its [Channel]s: which job is
//     to be mined ([Work]), at which target, and how many shares were answered how ([Tally]).
//
// Conventions: a [Hash] and a [Target] are 32 bytes in internal (header) order, which read as a number are
// little-endian; difficulty is "pdiff", where 1 is the target 0x00000000FFFF << 208; ntime is unix
// seconds; hash rates are hashes per second. Text of the peer is opaque bytes in a string: print it with
// %q.
//
// Clients and channels may be used from several goroutines. A Client has one goroutine of its own, which
// ends with the connection. It keeps no queue: jobs and targets replace each other, answers are counted.
//
// What the pool does against the specification ends the connection with a [*ProtocolError]; unknown
// messages are ignored (chapter 3.4.1). Nothing that arrives makes the package panic.
package sv2client
