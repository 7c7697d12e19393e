// What a pool hands to package sv2, and how it starts and stops.

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// software names the pool to sidecars.
const software = "minipool"

// startsFile is where the starts of the pool are counted, in the data directory or behind the journal's
// name.
const startsFile = "starts"

// lastWords is how long shares and blocks that a stop has cut short may take to be written down.
const lastWords = 2 * time.Second

// epochSize is the length of Welcome.epoch in bytes.
const epochSize = 16

// minipool is a running pool.
type minipool struct {
	settings settings
	log      *slog.Logger
	journal  *journal
	source   source
	chain    *chain.Chain // the source, or nil when that is a node
	counters net.Listener // nil: not shown
	work     *work
	pool     *sv2.Pool
	sv1      sv1Door
	server   carrierServer
	events   *events.Folder // nil: not kept
	// served has the reason when sidecars can't connect any more; nil after a stop.
	served chan error
	// keepAfter is how long a node may be silent before a block is in a file.
	keepAfter time.Duration
	// wanted asks for blocks mined in this process.
	wanted chan struct{}
	// wantedWork asks for new work on the same tip.
	wantedWork chan struct{}

	ctx     context.Context // ends the goroutines in running
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// poolConfig is the whole of what a pool gives to package sv2: limits, and five functions.
//
// era is the number of this start: miners that were here before get their extranonce prefixes back, and
// nobody else does.
func (m *minipool) poolConfig(era uint64) sv2.PoolConfig {
	s := m.settings
	limits := sv2.Limits{
		Easiest:  sv2.TargetFromDifficulty(s.minDifficulty),
		Software: software,
	}
	if s.maxDifficulty > 0 {
		limits.Hardest = sv2.TargetFromDifficulty(s.maxDifficulty)
	}
	return sv2.PoolConfig{
		Limits:          limits,
		ExtranonceSize:  s.extranonceSize,
		Era:             era,
		SharesPerMinute: 60 / s.shareSeconds,
		// Whether a payout key is of use is the sidecar's to say: the mint is behind it.
		AllowPayoutKeys: true,
		Authorize:       m.authorize,
		BuildJob:        m.work.buildJob,
		JobGroup:        jobGroup,
		OnVerdict:       m.onVerdict,
		OnWithdraw:      m.onWithdraw,
		OnBlock:         m.onBlock,
		OnError:         m.onError,
	}
}

// onVerdict is sv2.PoolConfig.OnVerdict. Its error takes an acceptance back: what is not in the book
// is not credited, and the miner is told so.
func (m *minipool) onVerdict(
	ctx context.Context, channel sv2.ChannelInfo, submit sv2.Submit, verdict sv2.Verdict,
) error {
	if err := m.journal.verdict(channel, submit, verdict); err != nil {
		m.log.Error("share is not in the journal: it is not credited", "channel", channel.ID,
			"submit_id", submit.ID, "err", err)
		return err
	}
	if m.log.Enabled(ctx, slog.LevelDebug) { // else its values are made for nothing, for every share
		m.log.Debug("share", "user", escape(channel.UserIdentity), "channel", channel.ID,
			"submit_id", submit.ID, "verdict", verdict.Reason, "hash", verdict.Hash,
			"difficulty", verdict.Credit.Float(), "block", verdict.BlockCandidate)
	}
	return nil
}

// onWithdraw is sv2.PoolConfig.OnWithdraw: the miner was told that an accepted share is not, for the
// sidecar was cut off. The books follow what he was told.
func (m *minipool) onWithdraw(_ context.Context, channel sv2.ChannelInfo, verdict sv2.Verdict) error {
	m.log.Debug("share withdrawn", "user", escape(channel.UserIdentity), "channel", channel.ID,
		"submit_id", verdict.SubmitID, "hash", verdict.Hash)
	return m.journal.withdrawn(channel, verdict)
}

// countStart is the number of this start, counted in a file beside what lasts: the chain, else the
// journal. 0, for which package sv2 draws one, when nothing does.
func (m *minipool) countStart() (uint64, error) {
	switch {
	case m.settings.dataDir != "":
		return sv2.NextEra(filepath.Join(m.settings.dataDir, startsFile))
	case m.journal.lasts():
		return sv2.NextEra(m.settings.journal + "." + startsFile)
	default:
		return 0, nil
	}
}

// start brings a pool up; end it with stop. Nothing is left behind when there is an error.
func start(s settings, log *slog.Logger) (_ *minipool, err error) {
	m := &minipool{
		settings: s, log: log, keepAfter: keepAfter,
		served: make(chan error, 1), wanted: make(chan struct{}, maxWantedBlocks),
		wantedWork: make(chan struct{}, 1),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, m.stop(stopGrace))
		}
	}()
	// One epoch for each run: the sidecar learns from it that the channels it knew are gone.
	epoch := make([]byte, epochSize)
	if _, err := rand.Read(epoch); err != nil {
		return nil, fmt.Errorf("choose an epoch: %w", err)
	}
	if s.journal != "" {
		if m.journal, err = openJournal(s.journal); err != nil {
			return nil, err
		}
	}
	poolScript, err := m.openSource()
	if err != nil {
		return nil, err
	}
	m.work = &work{source: m.source, payouts: newPayouts(poolScript, s.poolFee), now: time.Now}
	first, err := m.work.newest()
	if err != nil {
		return nil, err
	}
	era, err := m.countStart()
	if err != nil {
		return nil, err
	}
	if m.pool, err = sv2.NewPool(m.poolConfig(era)); err != nil {
		return nil, err
	}
	host, err := m.openSV1()
	if err != nil {
		return nil, err
	}
	if s.counters != "" {
		if m.counters, err = m.openCounters(s.counters); err != nil {
			return nil, err
		}
	}
	miners, err := m.openCarrier(watchedHost{host, log}, epoch)
	if err != nil {
		return nil, err
	}
	// Journal, chain and socket are ours: the run begins.
	if err := m.journal.start(epoch); err != nil {
		return nil, errors.Join(err, miners.shut())
	}
	news, unsubscribe := m.source.Subscribe()
	tip, height := m.source.Tip()
	m.running.Go(func() {
		defer unsubscribe()
		m.follow(m.ctx, news, tip)
	})
	if m.chain != nil {
		m.running.Go(func() { m.mineTestBlocks(m.ctx) })
	}
	m.running.Go(func() { m.journal.sumUpRejects(m.ctx, log) })
	m.serveSV1()
	go func() { m.served <- miners.serve() }()

	log.Info("minipool is ready", "listens", miners.where, "chain", m.source.Params().Name,
		"chain_height", height, "bits", fmt.Sprintf("%08x", first.Bits),
		"hashes_per_block", hashesPerBlock(first.Bits), "min_difficulty", s.minDifficulty, "pid", os.Getpid())
	return m, nil
}

// hashesPerBlock is how many hashes a block takes on average.
func hashesPerBlock(networkBits uint32) *big.Int {
	target, err := sv2.TargetFromNBits(networkBits)
	if err != nil { // not reached: the chain has taken the bits
		return new(big.Int)
	}
	space := new(big.Int).Lsh(big.NewInt(1), 256)
	return space.Quo(space, new(big.Int).Add(target.Big(), big.NewInt(1)))
}

// stop ends everything that start began, in the order in which it depends on each other: sidecars are
// told and may hang up, miners on Stratum V1 are, shares under way are judged and blocks offered, then the chain and the
// journal are closed. Each of the two waits takes grace at most.
func (m *minipool) stop(grace time.Duration) error {
	var faults []error
	if m.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		if err := m.server.Shutdown(ctx); err != nil {
			// The server has stopped all the same; sidecars find out by themselves.
			m.log.Warn("sidecars did not leave in time", "err", err)
		}
		cancel()
	}
	if m.pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		faults = append(faults, m.sv1.close(ctx))
		err := m.pool.Close(ctx)
		cancel()
		if err != nil { // their context has ended; what they have to write down takes another moment
			faults = append(faults, err)
			ctx, cancel := context.WithTimeout(context.Background(), lastWords)
			if err := m.pool.Close(ctx); err != nil {
				m.log.Error("shares or blocks under way are not in the journal", "err", err)
			}
			cancel()
		}
	}
	m.cancel()
	if m.counters != nil {
		faults = append(faults, m.counters.Close())
	}
	m.running.Wait()
	if m.source != nil {
		faults = append(faults, closeWithin(grace, m.source.Close))
	}
	if m.events != nil {
		faults = append(faults, m.events.Close())
	}
	faults = append(faults, m.journal.close())
	return errors.Join(faults...)
}

// closeWithin doesn't wait longer than grace: the chain's database never closes when its files are gone or
// can't be written.
func closeWithin(grace time.Duration, shut func() error) error {
	closed := make(chan error, 1)
	go func() { closed <- shut() }()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-closed:
		return err
	case <-timer.C:
		return fmt.Errorf("the chain did not close within %v: are its files gone, or the disk full?", grace)
	}
}
