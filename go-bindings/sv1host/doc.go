// Package sv1host makes any pool that serves a [net.Conn] in Stratum V1 an [sv2.Host]. For the pool each
// Stratum V2 channel is one more Stratum V1 miner: it subscribes, authorizes, gets work and submits
// shares, on a connection in memory that the pool serves like one of its own. What the pool does with
// its miners (difficulty, bans, statistics, payouts, blocks) it does with these.
//
//	host, err := sv1host.New(sv1host.Options{
//		Serve:         func(ctx context.Context, conn net.Conn) { pool.handle(conn) },
//		MinDifficulty: 256,
//		Software:      "mypool 1.0",
//	})
//	server, err := grpchost.New(host, grpchost.Options{})
//
// # What becomes what
//
//	OpenMiningChannel         mining.subscribe, authorize, configure, suggest_difficulty, in this order
//	user identity             the user name of mining.authorize, by [Options].Identity
//	extranonce prefix         extranonce1, on a standard channel with zeros for extranonce2 behind
//	rolled extranonce         extranonce2, whole unless [Options].ExtranonceSize says otherwise
//	job                       mining.notify; a new tip is another prev-hash, whatever clean_jobs says
//	target                    mining.set_difficulty, in force with the next mining.notify
//	max_target                minimum-difficulty of mining.configure, and enforced here
//	nominal hash rate         mining.suggest_difficulty
//	SubmitShares              mining.submit
//	verdict                   the reply, matched by id
//	CloseChannel              the connection ends
//	pool closes, or bans      the miner's channel is closed
//	pool says "Pool restarting" and closes  nothing yet: see [Options].SuspendFor
//
// # Who judges
//
// Stratum V1 tells neither the hash of a share, nor what it is worth, nor whether it is a block. So each
// share is hashed here, by the check that package sv2 has for all pools ([sv2.Check]): one target for each
// job, and no header accepted twice on a tip, on whatever channel. What that refuses the pool never sees,
// so that a broken device gets nobody banned. What it lets pass goes to the pool, which has the last
// word; a share is accepted when both say so, and credited with the difficulty of its job's target.
//
// A header that meets nbits goes to the pool in any case, and is answered at once, without it. The
// pool's reply is then the [sv2.BlockResult]: true, or an error with the node's words; unknown, when none
// comes. Should the pool refuse such a share for another reason, the miner keeps the credit, for its work
// was good. What the pool can't be given any more is not credited, block or not.
//
// Stratum V1 knows no way to take a share back: one that was answered in the pool's stead, because the pool
// or the carrier took too long, may stay in the pool's books. Those then have more than miners were told,
// never less. A share that names its worker (SV2 extension 0x0002) is the channel's user's all the same.
//
// # Trust
//
// The pool is trusted, the miner is not. All that a miner chose reaches the pool as a JSON string, so no
// identity can end a line and begin another; identities with control characters, or that are no UTF-8,
// are refused.
package sv1host
