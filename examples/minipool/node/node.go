// The life of a Node: opened, asking for templates, closed.

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

const (
	// callTimeout is how long the node may take for an answer that needs no waiting.
	callTimeout = 30 * time.Second

	// firstPause and longestPause are the pauses between two tries to reach a node that is away.
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
)

// Options are the settings of Open.
type Options struct {
	// URL of the node's RPC server, http://HOST:PORT or https://HOST:PORT, without a password.
	URL string
	// CookieFile is Bitcoin Core's .cookie; AuthFile holds USER:PASSWORD. Exactly one is given.
	CookieFile, AuthFile string
	// CAFile is the certificate (PEM) that a node with TLS is checked against; empty: those that the
	// system trusts.
	CAFile string
	// Chain is the name of the chain that the node must be on, see Network; empty: any.
	Chain string
	// Refresh is the age at which a template is replaced though there is no new tip. Above 0.
	Refresh time.Duration
	// Away is how long the last template serves when the node doesn't answer. Above 0.
	Away time.Duration
	// Logger hears of a node that is away, and that is back; nil discards it.
	Logger *slog.Logger
}

// Node is a Bitcoin node as a source of templates. Create it with Open; end it with Close. All methods
// may be called from any goroutine.
type Node struct {
	rpc     *rpc
	log     *slog.Logger
	network *chaincfg.Params
	refresh time.Duration
	away    time.Duration

	cancel  context.CancelFunc // ends the goroutines in running
	running sync.WaitGroup
	poke    chan struct{} // asks for a look at the node

	mu       sync.Mutex
	latest   *offer
	taken    uint64    // offers taken so far
	answered time.Time // the last answer with a template
	lapsed   bool      // no answer for too long, subscribers have been told
	cut      bool      // the long poll failed, and the node has not been asked for its chain since
	subs     map[chan struct{}]struct{}
}

// Open asks the node which chain it is on and for a first template. The error of a node that can't be
// reached, or that has no work, says the remedy.
func Open(ctx context.Context, o Options) (*Node, error) {
	n := &Node{
		log: o.Logger, refresh: o.Refresh, away: o.Away,
		poke: make(chan struct{}, 1), subs: make(map[chan struct{}]struct{}),
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if o.Refresh <= 0 || o.Away <= 0 {
		return nil, errors.New("open node: Refresh and Away must be above 0")
	}
	var wanted *chaincfg.Params
	var err error
	if o.Chain != "" {
		if wanted, err = Network(o.Chain); err != nil {
			return nil, fmt.Errorf("open node: %w", err)
		}
	}
	if n.rpc, err = newRPC(o); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	info, err := n.askChain(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("open node %s: %w", n.rpc.url, err)
	}
	n.network = info.network
	if info.InitialDownload {
		n.log.Warn("the node has not caught up with its network: what is mined now may be stale",
			"chain", n.network.Name, "height", info.Blocks,
			"remedy", "wait until getblockchaininfo says initialblockdownload false")
	}
	if err := n.reach(ctx); err != nil {
		return nil, fmt.Errorf("open node %s: %w", n.rpc.url, err)
	}
	ctx, n.cancel = context.WithCancel(context.Background())
	n.running.Go(func() { n.keepFresh(ctx) })
	n.running.Go(func() { n.awaitTips(ctx) })
	return n, nil
}

// Params returns the parameters of the node's chain. They must not be changed.
func (n *Node) Params() *chaincfg.Params { return n.network }

// Tip returns the hash (internal byte order) and the height of the block that the newest template
// builds on.
func (n *Node) Tip() (hash [32]byte, height int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latest.PrevHash, n.latest.Height - 1
}

// Template returns the newest template at once; it is shared, and must not be changed. The error is
// ErrAway when the node has not answered for longer than Options.Away.
func (n *Node) Template() (*template.Template, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lapsed {
		return nil, fmt.Errorf("%w: no answer since %s", ErrAway, n.answered.Format(time.RFC3339))
	}
	return n.latest.Template, nil
}

// Subscribe returns a channel that receives a value when there is a new tip or when the node offers
// better work on the same, when the node has been away for too long, and when it is back; and a
// function that ends the subscription. A slow reader finds one value. The channel is never closed.
func (n *Node) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs[ch] = struct{}{}
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.subs, ch)
	}
}

// notifyLocked tells the subscribers; the caller holds mu.
func (n *Node) notifyLocked() {
	for ch := range n.subs {
		select {
		case ch <- struct{}{}:
		default: // one is waiting already, that is enough
		}
	}
}

// Close ends the requests under way. A Submit that waits for the node goes on until its context ends.
func (n *Node) Close() error {
	n.cancel()
	n.running.Wait()
	return nil
}

// reach asks for a template now, of the chain that the node was on at first: it may have been started
// on another.
func (n *Node) reach(ctx context.Context) error {
	if _, err := n.askChain(ctx, n.network); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n.mu.Lock()
	before := n.taken
	n.mu.Unlock()
	o, err := n.askOnChain(ctx, "")
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken != before {
		o = n.latest // the long poll's, which came meanwhile and may be the newer one
	}
	n.takeLocked(o, n.lapsed || n.latest == nil || n.latest.PrevHash != o.PrevHash)
	n.cut = false
	return nil
}

// askOnChain asks for a template, and then whether the node that gave it is on the chain of the first
// one: another may have been started in its place at any time before.
func (n *Node) askOnChain(ctx context.Context, longPollID string) (*offer, error) {
	o, err := n.ask(ctx, longPollID)
	if err != nil {
		return nil, err
	}
	if _, err := n.askChain(ctx, n.network); err != nil {
		return nil, err
	}
	return o, nil
}

// takeLocked makes an offer the newest; the caller holds mu.
func (n *Node) takeLocked(o *offer, news bool) {
	n.latest, n.answered, n.lapsed = o, time.Now(), false
	n.taken++
	if news {
		n.notifyLocked()
	}
}

// keepFresh replaces the template when it is old, and finds out when the node is away and when it is
// back, until ctx ends.
func (n *Node) keepFresh(ctx context.Context) {
	next := firstPause
	for fails := 0; ; {
		wait := n.refresh
		if fails > 0 {
			wait = next
			next = min(2*next, longestPause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-n.poke:
		}
		err := n.reach(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			fails++
			n.missed(err, fails)
		case fails > 0:
			n.log.Info("the node answers again", "node", n.rpc.url, "failed_tries", fails)
			fails, next = 0, firstPause
		}
	}
}

// missed logs that the node didn't give a template, and tells subscribers once that is too much.
func (n *Node) missed(err error, fails int) {
	n.mu.Lock()
	silence := time.Since(n.answered)
	tooLong := silence > n.away
	if tooLong && !n.lapsed {
		n.lapsed = true
		n.notifyLocked()
	}
	n.mu.Unlock()
	miners := "they go on with the last template"
	if tooLong {
		miners = "they have no work"
	}
	n.log.Error("no template from the node", "node", n.rpc.url, "err", err, "tries", fails,
		"silent_for", silence.Round(time.Second), "miners", miners)
}

// awaitTips has a request wait at the node for the next tip, over and over, until ctx ends.
func (n *Node) awaitTips(ctx context.Context) {
	for ctx.Err() == nil {
		n.mu.Lock()
		id, cut := n.latest.longPollID, n.cut
		n.mu.Unlock()
		if id == "" {
			n.log.Warn("the node doesn't tell of new tips (no longpollid): it is asked at intervals",
				"interval", n.refresh)
			return
		}
		if cut { // keepFresh is about to find out what is wrong, and says so
			pause(ctx, firstPause)
			continue
		}
		// No timeout: the next block may take hours. TCP finds out when the node is gone.
		o, err := n.askOnChain(ctx, id)
		n.mu.Lock()
		if err == nil {
			n.takeLocked(o, true)
		} else {
			n.cut = true
		}
		n.mu.Unlock()
		if err != nil {
			n.log.Debug("long poll ended", "err", err)
			n.look()
		} else if o.longPollID == id { // the node didn't wait: don't ask it without end
			pause(ctx, firstPause)
		}
	}
}

// look has keepFresh ask the node now.
func (n *Node) look() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
