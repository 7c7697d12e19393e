// How the Pool judges shares and offers blocks, and in which order it tells of them.

package sv2

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

const (
	// blockOffers is how many blocks are offered to the node at once.
	blockOffers = 4
	// blockQueue is how many more may wait. On a real network one is a feast; only a test network
	// with a trivial nbits fills it.
	blockQueue = 1024
	// maxDetail is the longest text of a verdict or block result, in bytes.
	maxDetail = 255
)

// blockOffer is a block candidate on its way to the node and its result on the way back.
type blockOffer struct {
	channel *poolChannel
	block   Block
	// The result must not overtake the verdict: whichever is second sends it. Guarded by channel.mu.
	told   bool
	result *BlockResult
}

// work judges shares, one turn after the other, until the pool stops.
func (p *Pool) work() {
	verdicts := make([]Verdict, turnShares)
	for {
		c, batch := p.turns.next()
		if c == nil {
			return
		}
		p.judge(c, batch, verdicts[:len(batch)])
		p.turns.end(c, batch)
		p.inFlight.done(len(batch))
	}
}

// judge checks a batch, offers its blocks, writes the journal, and only then tells the miner. verdicts is
// memory for as many.
func (p *Pool) judge(c *poolChannel, batch []Submit, verdicts []Verdict) {
	var offers []*blockOffer
	now := p.now()
	c.mu.Lock()
	for i, submit := range batch {
		var work *Difficulty
		verdicts[i], work = c.check.judge(submit, now)
		if work != nil { // what the journal will say is no matter of the miner's rate
			c.vardiff.Accepted(*work)
		}
		offers = c.collect(offers, submit, verdicts[i])
	}
	c.mu.Unlock()
	p.offer(offers)
	if p.seen.Filled() {
		p.report(errSeenFull)
	}

	sent, offered := 0, 0
	for i, submit := range batch {
		p.journal(c, submit, &verdicts[i])
		news := offers[offered:offered]
		if verdicts[i].BlockCandidate {
			news = offers[offered : offered+1]
			offered++
		}
		// The finder of a block doesn't wait for the rest of the turn.
		if len(news) > 0 {
			c.deliver(verdicts[sent:i+1:i+1], news)
			sent = i + 1
		}
	}
	if sent < len(verdicts) {
		c.deliver(verdicts[sent:], nil)
	}
}

var errSeenFull = errors.New("there is little room left to remember accepted shares of this tip: until " +
	"the next block channels that sent more than their part are answered rate-limited; if blocks are not " +
	"just slow, MaxChannels or SharesPerMinute is less than what comes: raise it")

// journal calls OnVerdict, and takes an acceptance back that it can't write.
func (p *Pool) journal(c *poolChannel, submit Submit, verdict *Verdict) {
	if p.config.OnVerdict == nil {
		return
	}
	err := p.config.OnVerdict(p.running, c.info, submit, *verdict)
	if err == nil || !verdict.Accepted() {
		return
	}
	verdict.Reason = RejectUnavailable
	verdict.Credit = Difficulty{}
	verdict.Detail = printable("journal: " + err.Error())
}

// collect appends an offer if the verdict is a block candidate; the caller holds mu.
func (c *poolChannel) collect(
	offers []*blockOffer, submit Submit, verdict Verdict,
) []*blockOffer {
	if !verdict.BlockCandidate {
		return offers
	}
	header, job := c.check.Header(submit)
	return append(offers, &blockOffer{channel: c, block: Block{
		Header:   header,
		Hash:     verdict.Hash,
		Coinbase: Coinbase(job, c.info.Prefix, submit.Extranonce),
		Job:      job,
		Channel:  c.info,
		SubmitID: submit.ID,
		Worker:   submit.Worker,
	}})
}

// offer queues blocks for the node, before their verdicts are told.
func (p *Pool) offer(offers []*blockOffer) {
	for _, o := range offers {
		p.inFlight.add(1)
		select {
		case p.blocks <- o:
		default:
			err := &UnofferedBlock{Block: o.block}
			p.report(err)
			p.settle(o, err)
		}
	}
}

// offerBlocks takes blocks to the node until the pool stops.
func (p *Pool) offerBlocks() {
	for {
		select {
		case <-p.stop:
			return
		case o := <-p.blocks:
			p.settle(o, p.config.OnBlock(p.running, o.block))
		}
	}
}

// UnofferedBlock is the error of a block that OnBlock was not called for, since too many others wait for the
// node. [PoolConfig].OnError gets it: what can be done for the block is the operator's to do. It wraps
// [ErrUndecided].
type UnofferedBlock struct {
	// Block that was not offered.
	Block Block
}

// Error names the block, and has all that the pool knows of it.
func (e *UnofferedBlock) Error() string {
	return fmt.Sprintf("block %s was not offered, %d others wait for the node: to submit it by hand, put "+
		"together header %x, coinbase %x and the transactions of job %d",
		e.Block.Hash, blockQueue, e.Block.Header, e.Block.Coinbase, e.Block.Job.ID)
}

// Unwrap is [ErrUndecided].
func (e *UnofferedBlock) Unwrap() error { return ErrUndecided }

// ErrUndecided says that nobody knows what became of a block: the node did not answer, or was not asked.
// For errors of [PoolConfig].OnBlock to wrap.
var ErrUndecided = errors.New("no node has decided on the block")

// Undecided reports whether an error of [PoolConfig].OnBlock leaves open what became of the block: it wraps
// [ErrUndecided], or the error of a context that ended.
func Undecided(err error) bool {
	return errors.Is(err, ErrUndecided) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded)
}

// settle tells the carrier what became of a block, but not before its verdict.
func (p *Pool) settle(o *blockOffer, err error) {
	result := BlockResult{
		SubmitID: o.block.SubmitID,
		Hash:     o.block.Hash,
		Height:   o.block.Job.Height,
		Accepted: err == nil,
		Unknown:  Undecided(err),
	}
	if err != nil {
		result.Detail = printable(err.Error())
	}
	c := o.channel
	c.mu.Lock()
	o.result = &result
	if o.told && !c.closed {
		c.sink.BlockResult(result)
	}
	c.mu.Unlock()
	p.inFlight.done(1)
}

// printable is text as verdicts may carry it: printable ASCII, at most 255 bytes.
func printable(text string) string {
	clean := make([]byte, 0, min(len(text), maxDetail))
	for i := 0; i < len(text) && len(clean) < maxDetail; i++ {
		b := text[i]
		if b < 0x20 || b > 0x7e {
			b = '?'
		}
		clean = append(clean, b)
	}
	return string(clean)
}

// tally counts work under way and lets others wait until there is none.
type tally struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed at 0; nil when nobody waits
}

func (t *tally) add(n int) {
	t.mu.Lock()
	t.n += n
	t.mu.Unlock()
}

func (t *tally) done(n int) {
	t.mu.Lock()
	t.n -= n
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
	t.mu.Unlock()
}

// wait returns nil once there was nothing under way, or the error of ctx.
func (t *tally) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
