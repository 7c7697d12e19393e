// The Pool: configuration, start and end.

package sv2

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// What a zero field of [PoolConfig] means.
const (
	// DefaultExtranonceSize is how many bytes the miner of an extended channel rolls.
	DefaultExtranonceSize = 8
	// DefaultPrefixSize is the length of an extended channel's extranonce prefix in bytes.
	DefaultPrefixSize = 4
	// DefaultSharesPerMinute is how many accepted shares a minute vardiff aims at per channel.
	DefaultSharesPerMinute = 6.0
	// DefaultMaxChannels is how many channels may be open at once.
	DefaultMaxChannels = 65536
	// DefaultQueueSize is how many submits of one channel may wait to be judged: as many as a sidecar
	// lets one connection have unanswered by default.
	DefaultQueueSize = 1024
)

// maxFullExtranonce is the longest prefix plus extranonce SV2 can carry (SV2 spec 5.3.5).
const maxFullExtranonce = 32

// maxQueueSize is the longest queue that can be asked for: more is minutes of judging.
const maxQueueSize = 1 << 20

// runBits is how many random bits start the ids of jobs in each run: below them are 2^15 ids, above them
// a bit 0, so that ids fit a signed integer. Two runs of 2^30 jobs meet once in 2^32 restarts.
const runBits = 48

// retargetEvery is how often vardiff looks at every channel.
const retargetEvery = time.Second

// PoolConfig is what a [Pool] needs. BuildJob, OnBlock and Limits.Easiest are required.
//
// The functions run on the pool's goroutines or on those of the carrier, several at a time: they must
// be safe for concurrent use. None of them may call [Pool.Close], [Pool.Drain] or [Pool.Refresh], which
// wait for what they are part of; OnBlock alone may call Refresh.
type PoolConfig struct {
	// Limits is the range of targets and the name of the pool. Easiest must not be zero. It is also
	// the target of a miner that doesn't know its hash rate.
	Limits Limits
	// ExtranonceSize is how many bytes the miner of an extended channel rolls, 1 to 31;
	// 0 means [DefaultExtranonceSize].
	ExtranonceSize int
	// PrefixSize is the length of the extranonce prefix of an extended channel in bytes, 1 to 31;
	// 0 means [DefaultPrefixSize]. A standard channel's prefix has PrefixSize + ExtranonceSize bytes,
	// so that every coinbase has the same length; the two are at most 32 together.
	PrefixSize int
	// PrefixLeading starts every prefix, shorter than PrefixSize: give each of several pools that pay
	// to one coinbase its own. Empty is fine.
	PrefixLeading []byte
	// Era is the number of this start of the pool, one more than that of the start before: see
	// [NextEra], which counts them in a file. Prefixes handed out to new channels carry it, so that
	// nobody gets a prefix that a channel of an earlier run may still come back for (see
	// [ExtranonceAllocator.StartEra]). The counter behind it has room for four times MaxChannels; the
	// rest of PrefixSize is the era's: 2^14 starts by default. Where PrefixSize leaves it no bit,
	// a prefix that somebody may want can be handed out. 0: drawn at random, which is as good with
	// that probability.
	Era uint64
	// SharesPerMinute is what vardiff aims at per channel; 0 means [DefaultSharesPerMinute].
	SharesPerMinute float64
	// MaxChannels may be open at once; 0 means [DefaultMaxChannels]. Channels that come back after a
	// restart ([OpenRequest].Reopen) are let in up to twice as many: new ones may have been quicker.
	MaxChannels int
	// QueueSize is how many submits of one channel may wait to be judged; more are answered
	// [RejectRateLimited]. A submit takes some 150 bytes; how many of all channels wait together is
	// bounded by what the carrier lets be unanswered. At most 2^20; 0 means [DefaultQueueSize].
	QueueSize int
	// AllowPayoutKeys admits channels that carry a Cashu payout key. Without it they are refused with
	// [RefusePayoutKey].
	AllowPayoutKeys bool

	// Authorize says whose account a channel mines for; the account comes back in [ChannelInfo] and
	// [JobRequest]. A [*Refusal], wrapped or not, is told to the miner; any other error is
	// "internal-error". ctx ends when the miner is gone. Nil lets everybody in with a nil account.
	Authorize func(ctx context.Context, request OpenRequest) (account any, err error)

	// BuildJob makes work for one channel from the newest template: when the channel opens, on every
	// [Pool.Refresh] and after a change of target. Job.ID must be JobRequest.ID. Every job of a channel
	// must be new work (put the id or the time into the coinbase), or a miner that starts over at
	// extranonce 0 repeats its shares. The job belongs to the pool afterwards and must not change.
	BuildJob func(ctx context.Context, request JobRequest) (*Job, error)

	// JobGroup tells which channels may mine the very same job: those whose accounts give equal values,
	// which must be comparable, and whose coinbases leave the same room. A [Pool.Refresh] then calls
	// BuildJob once for all of them, with the request of any, and the carrier sends it once: with one
	// payout for thousands of channels a new tip reaches the last of them sooner. No two mine the same
	// header: each has its own prefix. Nil, or nil for an account: to each channel a job of its own.
	JobGroup func(account any) any

	// OnVerdict is the journal. It is called once for each submit judged, accepted or not, in the
	// order of the channel, before the verdict is delivered. An error turns an accepted share into
	// [RejectUnavailable] and nothing is credited; the header stays known, so it can't be credited
	// later either. Shares taken before a channel closed come here even if the close overtook them.
	// Not called for shares refused because the queue was full. Nil: no journal.
	OnVerdict func(ctx context.Context, channel ChannelInfo, submit Submit, verdict Verdict) error

	// OnWithdraw takes a share out of the books that OnVerdict entered as accepted: the sidecar had to
	// answer the miner with an error before it could hear of the verdict (see [Withdrawer]). It comes
	// after OnVerdict, once, possibly when the channel is closed. A block stays a block. What can't be
	// written is told to OnError; the pool then credits a share more than the miner knows of. Nil: not
	// taken back.
	OnWithdraw func(ctx context.Context, channel ChannelInfo, verdict Verdict) error

	// OnBlock offers a block to the node, on a goroutine of its own so that no verdict waits for it.
	// The block may be that of a share rejected for policy. Nil means that the node took it; the text
	// of an error is told to the carrier. An error that wraps [ErrUndecided], or that of a context, says
	// that nobody knows; any other that the node refused the block. ctx ends when the context given to
	// [Pool.Close] has.
	OnBlock func(ctx context.Context, block Block) error

	// OnError hears what nobody else is told: no job after a change of target, a block candidate for
	// which there was no room (an [*UnofferedBlock]), a full memory of accepted shares (once a tip). It
	// must return at once: shares may wait for it. Nil: not told.
	OnError func(err error)

	// Clock is time.Now unless a test sets it.
	Clock func() time.Time
}

// JobRequest says for which channel [PoolConfig].BuildJob makes work.
type JobRequest struct {
	// ID the job must have: 1 to 2^63-1, rising, never the same twice, not over restarts either (each
	// run starts at a random one). In the coinbase it makes a job new work.
	ID uint64
	// Account that Authorize returned.
	Account any
	// Kind of the channel.
	Kind Kind
	// Prefix is the channel's extranonce prefix; read only. The pool puts it into the coinbase.
	Prefix []byte
	// ExtranonceSize is how many bytes follow the prefix: 0 on a standard channel. The coinbase must
	// leave room (its scriptSig length, too) for len(Prefix) + ExtranonceSize bytes.
	ExtranonceSize int
}

// ChannelInfo describes an open channel. It doesn't change while the channel is open; its slices and
// Account are shared: read only.
type ChannelInfo struct {
	// ID is unique in the life of the pool; [Pool.Kick] takes it.
	ID uint64
	// Account that Authorize returned.
	Account any
	// Kind of the channel.
	Kind Kind
	// UserIdentity as the miner gave it: opaque bytes.
	UserIdentity []byte
	// PayoutKey is the Cashu payout key (33 bytes), or empty.
	PayoutKey []byte
	// Connection the channel came on.
	Connection Connection
	// Prefix is the extranonce prefix.
	Prefix []byte
	// ExtranonceSize is how many bytes the miner rolls after it.
	ExtranonceSize int
	// OpenedAt is when the channel was opened, by the pool's clock.
	OpenedAt time.Time
}

// Block is a header that meets its own nbits, with what a node needs to complete it.
type Block struct {
	// Header is the 80 byte header as it is hashed.
	Header [80]byte
	// Hash of the header.
	Hash Hash
	// Coinbase is the whole coinbase transaction without witness. A block with a witness commitment
	// needs the witness added (BIP141) before it goes to a node.
	Coinbase []byte
	// Job the header was mined on; its ID is that of the JobRequest, which leads to the transactions.
	Job *Job
	// Channel that found it, with its account.
	Channel ChannelInfo
	// SubmitID is Submit.ID of the share.
	SubmitID uint64
	// Worker is Submit.Worker of the share.
	Worker []byte
}

// Pool is the easy way to be a [Host]: give it jobs through [PoolConfig].BuildJob and call
// [Pool.Refresh] when there is a new tip or template; it hands out extranonce prefixes, sets
// difficulties ([Vardiff]) and judges shares ([Check]). All methods are safe from any goroutine.
//
// Shares are judged by GOMAXPROCS goroutines. Connections take turns, and so do the channels of each, a
// few shares at a time: nobody waits for the queue of another. Verdicts of a channel come in the order
// of its submits, but for those refused because its queue was full, which come at once.
type Pool struct {
	config     PoolConfig
	prefixes   *ExtranonceAllocator
	seen       *Seen
	turns      *turns
	blocks     chan *blockOffer
	inFlight   tally
	nextID     atomic.Uint64 // of jobs
	generation atomic.Uint64 // of the template: one more for each Refresh

	running  context.Context // ends when the pool gives up waiting for callbacks
	cancel   context.CancelFunc
	stop     chan struct{} // closed when nothing is in flight any more
	ended    sync.WaitGroup
	finished chan struct{} // closed when all goroutines have ended

	mu        sync.Mutex
	channels  map[uint64]*poolChannel
	reserved  map[string]struct{} // prefixes set aside: see ReservePrefix
	lastID    uint64              // of channels
	opening   int                 // channels admitted that are not in channels yet
	closing   bool
	closeOnce sync.Once
}

var _ Host = (*Pool)(nil)

// NewPool starts a pool; end it with [Pool.Close]. An error says what is wrong with config.
func NewPool(config PoolConfig) (*Pool, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("pool configuration: %w", err)
	}
	prefixes, err := NewExtranonceAllocator(config.PrefixLeading, config.PrefixSize)
	if err != nil {
		return nil, fmt.Errorf("pool configuration: %w", err)
	}
	// An era of its own keeps a restarted pool from giving away the prefix that a miner of the run before
	// is about to ask for again; job ids of its own from giving it the same job, whose shares could then
	// be credited a second time.
	var start [24]byte
	if _, err := rand.Read(start[:]); err != nil {
		return nil, fmt.Errorf("start of the extranonce prefixes and job ids: %w", err)
	}
	era := config.Era
	if era == 0 {
		era = binary.LittleEndian.Uint64(start[16:])
	}
	prefixes.StartEra(era, bits.Len(uint(4*config.MaxChannels-1)))
	prefixes.StartAt(binary.LittleEndian.Uint64(start[:8]))

	p := &Pool{
		config:   config,
		prefixes: prefixes,
		seen:     SeenFor(config.MaxChannels, config.SharesPerMinute),
		blocks:   make(chan *blockOffer, blockQueue),
		turns:    newTurns(config.QueueSize),
		stop:     make(chan struct{}),
		finished: make(chan struct{}),
		channels: make(map[uint64]*poolChannel),
		reserved: make(map[string]struct{}),
	}
	p.nextID.Store(binary.LittleEndian.Uint64(start[8:16]) >> (64 - runBits) << (63 - runBits))
	p.running, p.cancel = context.WithCancel(context.Background())
	for range runtime.GOMAXPROCS(0) {
		p.ended.Go(p.work)
	}
	for range blockOffers {
		p.ended.Go(p.offerBlocks)
	}
	p.ended.Go(p.retargetLoop)
	return p, nil
}

// complete checks the configuration and fills in the defaults.
func (c PoolConfig) complete() (PoolConfig, error) {
	if c.ExtranonceSize == 0 {
		c.ExtranonceSize = DefaultExtranonceSize
	}
	if c.PrefixSize == 0 {
		c.PrefixSize = DefaultPrefixSize
	}
	if c.SharesPerMinute == 0 {
		c.SharesPerMinute = DefaultSharesPerMinute
	}
	if c.MaxChannels == 0 {
		c.MaxChannels = DefaultMaxChannels
	}
	if c.QueueSize == 0 {
		c.QueueSize = DefaultQueueSize
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	switch {
	case c.BuildJob == nil:
		return c, errors.New("BuildJob is nil: miners need work")
	case c.OnBlock == nil:
		return c, errors.New("OnBlock is nil: set it, or blocks found are lost")
	case c.Limits.Easiest.IsZero():
		return c, errors.New("Limits.Easiest is zero: set it from the pool's minimum difficulty")
	case c.Limits.Hardest.Cmp(c.Limits.Easiest) > 0:
		return c, errors.New("Limits.Hardest is easier than Limits.Easiest: exchange them")
	case len(c.Limits.Software) > 64:
		return c, errors.New("Limits.Software is longer than 64 bytes")
	case c.ExtranonceSize < 1 || c.PrefixSize < 1 || c.PrefixSize > maxFullExtranonce ||
		c.ExtranonceSize > maxFullExtranonce-c.PrefixSize:
		return c, fmt.Errorf("PrefixSize %d and ExtranonceSize %d: each at least 1, at most %d together",
			c.PrefixSize, c.ExtranonceSize, maxFullExtranonce)
	case !(c.SharesPerMinute > 0) || c.SharesPerMinute > 6000:
		return c, fmt.Errorf("SharesPerMinute is %v: above 0, at most 6000", c.SharesPerMinute)
	case c.MaxChannels < 0 || c.MaxChannels > 1<<24:
		return c, fmt.Errorf("MaxChannels is %d: 0 to %d", c.MaxChannels, 1<<24)
	case c.QueueSize < 0 || c.QueueSize > maxQueueSize:
		return c, fmt.Errorf("QueueSize is %d: 0 to %d", c.QueueSize, maxQueueSize)
	}
	return c, nil
}

// Limits is what the configuration says.
func (p *Pool) Limits() Limits { return p.config.Limits }

// Drain waits until every submit taken is answered and every block candidate offered, or until ctx
// ends. It doesn't stop channels or submits: the carrier does.
func (p *Pool) Drain(ctx context.Context) error {
	if err := p.inFlight.wait(ctx); err != nil {
		return fmt.Errorf("drain of the pool: %w", err)
	}
	return nil
}

// Close refuses new channels, ends those that are open without a word to their sinks, and waits until
// the submits taken are judged and the blocks offered. When ctx ends first, the context of the callbacks
// ends too, and Close returns an error at once; the rest goes on without it as far as the callbacks
// return. Later calls wait again.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	channels := p.snapshotLocked()
	p.mu.Unlock()
	for _, c := range channels {
		c.end(nil)
	}
	p.closeOnce.Do(func() { go p.finish() })
	select {
	case <-p.finished:
		return nil
	case <-ctx.Done():
		p.cancel()
		return fmt.Errorf("close of the pool: shares or blocks are still in flight: %w", ctx.Err())
	}
}

// finish ends the pool's goroutines once nothing is in flight; no channel is open any more.
func (p *Pool) finish() {
	// It can't fail: the background context doesn't end.
	_ = p.inFlight.wait(context.Background())
	p.cancel()
	close(p.stop)
	p.turns.close()
	p.ended.Wait()
	close(p.finished)
}

// Channels lists the open channels, in no order.
func (p *Pool) Channels() []ChannelInfo {
	p.mu.Lock()
	channels := p.snapshotLocked()
	p.mu.Unlock()
	infos := make([]ChannelInfo, 0, len(channels))
	for _, c := range channels {
		if c.isOpen() {
			infos = append(infos, c.info)
		}
	}
	return infos
}

// Kick closes a channel and sends its miner away. It reports whether the channel was open; one that is
// still being opened counts as not open. kick.Reason is 1 to 255 bytes of printable ASCII.
func (p *Pool) Kick(channelID uint64, kick Kick) bool {
	p.mu.Lock()
	c := p.channels[channelID]
	p.mu.Unlock()
	return c != nil && c.end(&kick)
}

// snapshotLocked lists the channels; the caller holds mu.
func (p *Pool) snapshotLocked() []*poolChannel {
	channels := make([]*poolChannel, 0, len(p.channels))
	for _, c := range p.channels {
		channels = append(channels, c)
	}
	return channels
}

// now is the time by the pool's clock.
func (p *Pool) now() time.Time { return p.config.Clock() }

// report tells OnError; never with a lock held.
func (p *Pool) report(err error) {
	if p.config.OnError != nil {
		p.config.OnError(err)
	}
}
