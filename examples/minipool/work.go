// From templates to jobs: the coinbase of each channel, and new tips.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/node"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// keptTemplates is how many templates are kept for blocks: as many as a channel knows jobs of one tip.
const keptTemplates = sv2.KnownJobs

// work turns templates into jobs, and finds the template of a job again when that turned into a block.
// Safe for concurrent use.
type work struct {
	source  source
	payouts payouts
	now     func() time.Time

	mu sync.Mutex
	// present is what jobs are made of now; nil when there is no work.
	present *basis
	// kept are those that jobs were made of, oldest first, no two with the same transactions on the
	// same tip.
	kept []*basis
}

// basis is a template with what all jobs of it share. It doesn't change.
type basis struct {
	*template.Template
	path []sv2.Hash // MerklePath in the type of package sv2
}

// buildJob is sv2.PoolConfig.BuildJob: work for one channel. Every channel has a coinbase of its own,
// because it pays to the miner's own address.
func (w *work) buildJob(_ context.Context, request sv2.JobRequest) (*sv2.Job, error) {
	account, ok := request.Account.(*account)
	if !ok {
		return nil, fmt.Errorf("channel without an account: %T", request.Account)
	}
	t, err := w.newest()
	if err != nil {
		return nil, err
	}
	prefix, suffix, err := t.Coinbase(template.CoinbaseSpec{
		Outputs: w.payouts.outputs(t.CoinbaseValue, account.script),
		// The number of the job makes each coinbase a new one: a miner that starts over at
		// extranonce 0 finds no share twice.
		Tag: fmt.Sprintf("/minipool/%x/", request.ID),
		// On a standard channel the prefix is the whole extranonce.
		ExtranonceLen: len(request.Prefix) + request.ExtranonceSize,
	})
	if err != nil {
		return nil, err
	}
	return &sv2.Job{
		ID:          request.ID,
		PrevHash:    t.PrevHash,
		NBits:       t.Bits,
		Version:     uint32(t.Version),
		VersionMask: sv2.RollableVersionBits &^ t.RequiredBits,
		// The present, and not that of the template: it may be old when a channel opens. Median time
		// past + 1 where blocks came so fast that this is later.
		MinNTime: max(t.CurTime, uint32(w.now().Unix())),
		// No MaxNTime: miners may roll up to two hours ahead of the clock, as consensus allows.
		MerklePath:     t.path,
		CoinbasePrefix: prefix,
		CoinbaseSuffix: suffix,
		// A share on an old tip can't become a block here, so it earns nothing.
		StaleRule: sv2.StaleStrict,
		Height:    uint32(t.Height),
	}, nil
}

// newest is the template of the present tip. It asks the source which that is, so that a channel that
// opens between a new tip and the Refresh after it begins with the new one already.
func (w *work) newest() (*basis, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if tip, _ := w.source.Tip(); w.present != nil && w.present.PrevHash == tip {
		return w.present, nil
	}
	return w.fetchLocked()
}

// renew fetches a template though the tip may be the same: later time, other transactions.
func (w *work) renew() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.fetchLocked()
	return err
}

func (w *work) fetchLocked() (*basis, error) {
	w.present = nil
	fetched, err := w.source.Template()
	if err != nil {
		return nil, err
	}
	t := &basis{Template: fetched, path: make([]sv2.Hash, len(fetched.MerklePath))}
	for i, node := range fetched.MerklePath {
		t.path[i] = node
	}
	w.present = t
	// Same transactions, later time: for blocks one of the two is enough.
	if n := len(w.kept); n > 0 && w.kept[n-1].sameWork(t) {
		w.kept[n-1] = t
		return t, nil
	}
	w.kept = append(w.kept, t)
	if excess := len(w.kept) - keptTemplates; excess > 0 {
		w.kept = slices.Delete(w.kept, 0, excess)
	}
	return t, nil
}

func (t *basis) sameWork(other *basis) bool {
	return t.PrevHash == other.PrevHash && slices.Equal(t.path, other.path) &&
		bytes.Equal(t.WitnessCommitment, other.WitnessCommitment)
}

// of finds the template that a job was made of, by what the job shows of it: tip, merkle path and the
// witness commitment in its coinbase. That needs no memory per job and channel.
func (w *work) of(job *sv2.Job) (*basis, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range slices.Backward(w.kept) {
		if t.PrevHash == job.PrevHash && slices.Equal(t.path, job.MerklePath) &&
			bytes.Contains(job.CoinbaseSuffix, t.WitnessCommitment) {
			return t, nil
		}
	}
	return nil, fmt.Errorf("the template of job %d is forgotten: %d newer ones came since",
		job.ID, keptTemplates)
}

// follow gives all miners new work on each new tip, and now and then without one, until ctx ends. known
// is the tip that needs no announcement.
func (m *minipool) follow(ctx context.Context, news <-chan struct{}, known sv2.Hash) {
	ticker := time.NewTicker(m.settings.templateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-ticker.C:
		case <-m.wantedWork:
		}
		// Miners first: each moment on the old tip is lost work.
		switch err := m.renewWork(ctx); {
		case ctx.Err() != nil:
			return
		case errors.Is(err, node.ErrAway):
			m.sendMinersAway(err)
		case err != nil:
			m.log.Error("miners keep their old work", "err", err)
		}
		tip, height := m.source.Tip()
		if tip == known {
			continue
		}
		known = tip
		m.log.Info("new tip", "height", height, "hash", known)
		if err := m.journal.tip(known, height); err != nil {
			m.log.Error("new tip is not in the journal", "err", err)
		}
	}
}

// wantWork asks for new work for all miners though there is no new tip.
func (m *minipool) wantWork() {
	select {
	case m.wantedWork <- struct{}{}:
	default: // it is asked for already
	}
}

// renewWork takes a template and has package sv2 make every channel a job of it.
func (m *minipool) renewWork(ctx context.Context) error {
	if err := m.work.renew(); err != nil {
		if errors.Is(err, chain.ErrClosed) {
			return nil
		}
		return err
	}
	return m.pool.Refresh(ctx)
}

// sendMinersAway ends all connections: without a node what the miners do is worth nothing, and they may
// have another pool to go to. Those that come again are refused until there is work.
func (m *minipool) sendMinersAway(reason error) {
	kick := sv2.Kick{Action: sv2.KickConnection, Reason: "the pool has no work"}
	sent := 0
	for _, channel := range m.pool.Channels() {
		if m.pool.Kick(channel.ID, kick) {
			sent++
		}
	}
	if sent > 0 {
		m.log.Error("miners are sent away, there is no work for them", "channels", sent, "err", reason)
	}
}
