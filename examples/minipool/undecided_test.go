// What the pool promises about blocks that no node has decided on.

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// slowSource is a chain whose answer to a block takes as long as a node's that is away: until it is told
// to ask, or ctx ends.
type slowSource struct {
	*chain.Chain
	asked, answers chan struct{}
	lag            time.Duration // from the end of ctx to the return
}

func (s *slowSource) Submit(ctx context.Context, block *wire.MsgBlock) error {
	s.asked <- struct{}{}
	select {
	case <-s.answers:
		return s.Chain.Submit(ctx, block)
	case <-ctx.Done():
		<-time.After(s.lag)
		return ctx.Err()
	}
}

// blockRig is as much of a pool as blocks need.
type blockRig struct {
	*minipool
	t    *testing.T
	slow *slowSource
	logs *logs
}

func newBlockRig(t *testing.T, s settings) *blockRig {
	t.Helper()
	s.networkBits, s.journal = 0x207fffff, filepath.Join(t.TempDir(), "journal")
	r := &blockRig{t: t, logs: &logs{}}
	log := slog.New(slog.NewTextHandler(r.logs, nil))
	opened, err := chain.Open(chain.Options{DataDir: s.dataDir, NetworkBits: uint32(s.networkBits)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	books, err := openJournal(s.journal)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = books.close() })
	r.slow = &slowSource{Chain: opened, asked: make(chan struct{}, 1), answers: make(chan struct{})}
	r.minipool = &minipool{settings: s, log: log, keepAfter: time.Hour, journal: books, source: r.slow, chain: opened,
		work: &work{source: opened, payouts: newPayouts(opened.PoolScript(), 2), now: time.Now}}
	return r
}

// solve mines a block on a job of the pool's, which id names.
func (r *blockRig) solve(id uint64) sv2.Block {
	r.t.Helper()
	script, err := template.PayoutScript(payoutAddress(r.t), r.slow.Params())
	if err != nil {
		r.t.Fatal(err)
	}
	prefix, extranonce := []byte{1, 2, 3, 4}, make([]byte, 8)
	job, err := r.work.buildJob(r.t.Context(), sv2.JobRequest{ID: id, Account: &account{script: script},
		Kind: sv2.Extended, Prefix: prefix, ExtranonceSize: len(extranonce)})
	if err != nil {
		r.t.Fatal(err)
	}
	network, err := sv2.TargetFromNBits(job.NBits)
	if err != nil {
		r.t.Fatal(err)
	}
	header := sv2.Header(job, sv2.MerkleRoot(job, prefix, extranonce),
		sv2.Submit{NTime: job.MinNTime, Version: job.Version})
	for nonce := uint32(0); !sv2.HashHeader(header).Meets(network); nonce++ {
		binary.LittleEndian.PutUint32(header[76:], nonce)
	}
	return sv2.Block{Header: header, Hash: sv2.HashHeader(header), Job: job, SubmitID: id,
		Coinbase: sv2.Coinbase(job, prefix, extranonce), Channel: sv2.ChannelInfo{ID: 1}}
}

// stopped is a context that ends once the source was asked.
func (r *blockRig) stopped() context.Context {
	ctx, cancel := context.WithCancel(r.t.Context())
	go func() {
		<-r.slow.asked
		cancel()
	}()
	return ctx
}

// booked is the last line of the journal.
func (r *blockRig) booked() string {
	r.t.Helper()
	text, err := os.ReadFile(r.settings.journal)
	if err != nil {
		r.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

func TestABlockThatNobodyDecidedOnIsNotBookedAsRefused(t *testing.T) {
	r := newBlockRig(t, settings{})
	for name, offer := range map[string]func() error{
		"the pool stopped": func() error { return r.onBlock(r.stopped(), r.solve(1)) },
		"the template is forgotten": func() error {
			block := r.solve(2)
			block.Job.MerklePath = []sv2.Hash{{1}}
			return r.onBlock(t.Context(), block)
		},
	} {
		if err := offer(); !sv2.Undecided(err) {
			t.Errorf("%s: %v", name, err)
		}
		if got := r.booked(); !strings.Contains(got, `"event":"block"`) ||
			!strings.Contains(got, `"accepted":null`) {
			t.Errorf("%s: booked as %s", name, got)
		}
	}
	if text := r.logs.String(); !strings.Contains(text, "is unknown") || strings.Contains(text, "rejected") {
		t.Errorf("the log says %s", text)
	}
	// What the chain decides is decided.
	close(r.slow.answers)
	good := r.solve(3)
	if err := r.onBlock(t.Context(), good); err != nil || !strings.Contains(r.booked(), `"accepted":true`) {
		t.Errorf("taken: %v, booked as %s", err, r.booked())
	}
	<-r.slow.asked
	if err := r.onBlock(t.Context(), good); !errors.Is(err, chain.ErrDuplicate) || sv2.Undecided(err) ||
		!strings.Contains(r.booked(), `"accepted":false`) {
		t.Errorf("refused: %v, booked as %s", err, r.booked())
	}
}

// inFile is the block in its file.
func (r *blockRig) inFile(path string) *wire.MsgBlock {
	r.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	var block wire.MsgBlock
	if err := block.Deserialize(hex.NewDecoder(strings.NewReader(strings.TrimSpace(string(text))))); err != nil {
		r.t.Fatal(err)
	}
	return &block
}

func TestABlockThatNobodyDecidedOnCanBeSubmittedByHand(t *testing.T) {
	data := t.TempDir()
	for name, r := range map[string]*blockRig{
		"beside the chain":   newBlockRig(t, settings{dataDir: data}),
		"beside the journal": newBlockRig(t, settings{}),
	} {
		block := r.solve(1)
		path := r.settings.journal + ".block-" + block.Hash.String() + ".hex"
		if r.settings.dataDir != "" {
			path = filepath.Join(data, "block-"+block.Hash.String()+".hex")
		}
		if err := r.onBlock(r.stopped(), block); !sv2.Undecided(err) {
			t.Errorf("%s: %v", name, err)
		}
		if text := r.logs.String(); !strings.Contains(text, path) || !strings.Contains(text, "submitblock <") {
			t.Errorf("%s: the log says %s", name, text)
		}
		if err := r.slow.Chain.Submit(t.Context(), r.inFile(path)); err != nil {
			t.Errorf("%s: submitted by hand: %v", name, err)
		}
	}
}

func TestABlockIsInAFileWhileTheNodeIsSilentAndNotAfter(t *testing.T) {
	r := newBlockRig(t, settings{})
	r.keepAfter = 0
	block := r.solve(1)
	path := r.settings.journal + ".block-" + block.Hash.String() + ".hex"
	ended := make(chan error)
	go func() { ended <- r.onBlock(t.Context(), block) }()
	eventually(t, "the block is in a file", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
	if got := r.inFile(path).BlockHash(); sv2.Hash(got) != block.Hash {
		t.Errorf("block %v is in the file", got)
	}
	close(r.slow.answers)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file of a block that is in the chain stays")
	}
}

func TestABlockThatComesAfterTheChainClosedIsKept(t *testing.T) {
	r := newBlockRig(t, settings{})
	block := r.solve(1)
	close(r.slow.answers)
	if err := r.slow.Chain.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.onBlock(t.Context(), block); !sv2.Undecided(err) || !errors.Is(err, chain.ErrClosed) {
		t.Error(err)
	}
	r.inFile(r.settings.journal + ".block-" + block.Hash.String() + ".hex")
}

func TestABlockThatCannotBeWrittenIsInTheLog(t *testing.T) {
	r := newBlockRig(t, settings{})
	block := r.solve(1)
	full, err := r.assemble(block)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := full.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	r.settings.dataDir = filepath.Join(t.TempDir(), "gone")
	if err := r.onBlock(r.stopped(), block); !sv2.Undecided(err) {
		t.Error(err)
	}
	if !strings.Contains(r.logs.String(), hex.EncodeToString(raw.Bytes())) {
		t.Errorf("the log says %s", r.logs)
	}
}

func TestABlockWithoutItsTemplateIsToldWithWhatTheMinerGave(t *testing.T) {
	r := newBlockRig(t, settings{})
	block := r.solve(1)
	block.Job.MerklePath = []sv2.Hash{{1}}
	err := r.onBlock(t.Context(), block)
	for _, part := range []string{hex.EncodeToString(block.Header[:]), hex.EncodeToString(block.Coinbase)} {
		if !sv2.Undecided(err) || !strings.Contains(err.Error(), part) ||
			!strings.Contains(r.logs.String(), part) || !strings.Contains(r.booked(), part) {
			t.Errorf("%v, booked as %s, has no %s", err, r.booked(), part)
		}
	}
}

func TestABlockThatTheQueueHadNoRoomForIsKept(t *testing.T) {
	r := newBlockRig(t, settings{})
	block := r.solve(1)
	r.onError(&sv2.UnofferedBlock{Block: block})
	path := r.settings.journal + ".block-" + block.Hash.String() + ".hex"
	if got := r.inFile(path).BlockHash(); sv2.Hash(got) != block.Hash {
		t.Errorf("block %v is in the file", got)
	}
	if got := r.booked(); !strings.Contains(got, `"accepted":null`) {
		t.Errorf("booked as %s", got)
	}
}

// quiet is a sink of no interest.
type quiet struct{}

func (quiet) Job(*sv2.Job)                {}
func (quiet) Target(sv2.Target)           {}
func (quiet) Verdicts([]sv2.Verdict)      {}
func (quiet) BlockResult(sv2.BlockResult) {}
func (quiet) Kick(sv2.Kick)               {}

func TestABlockThatAStopCutsShortIsBookedAndKept(t *testing.T) {
	r := newBlockRig(t, settings{shareSeconds: 3, minDifficulty: shareDifficulty, extranonceSize: 8})
	r.slow.lag = 300 * time.Millisecond // so that a stop that does not wait is over before
	r.ctx, r.cancel = context.WithCancel(t.Context())
	var err error
	if r.pool, err = sv2.NewPool(r.poolConfig(1)); err != nil {
		t.Fatal(err)
	}
	c, opened, err := r.pool.OpenChannel(t.Context(), sv2.OpenRequest{Kind: sv2.Extended,
		UserIdentity: []byte(payoutAddress(t)), MaxTarget: sv2.MaxTarget}, quiet{})
	if err != nil {
		t.Fatal(err)
	}
	network, err := sv2.TargetFromNBits(opened.Job.NBits)
	if err != nil {
		t.Fatal(err)
	}
	submit := sv2.Submit{ID: 1, JobID: opened.Job.ID, NTime: opened.Job.MinNTime,
		Version: opened.Job.Version, Extranonce: make([]byte, opened.ExtranonceSize)}
	root := sv2.MerkleRoot(opened.Job, opened.Prefix, submit.Extranonce)
	for !sv2.HashHeader(sv2.Header(opened.Job, root, submit)).Meets(network) {
		submit.Nonce++
	}
	hash := sv2.HashHeader(sv2.Header(opened.Job, root, submit))
	c.Submit([]sv2.Submit{submit})
	<-r.slow.asked
	if err := r.stop(time.Millisecond); err == nil {
		t.Error("the stop says nothing of the block")
	}
	if got := r.booked(); !strings.Contains(got, hash.String()) || !strings.Contains(got, `"event":"block"`) ||
		!strings.Contains(got, `"accepted":null`) {
		t.Errorf("booked as %s", got)
	}
	if got := r.inFile(r.settings.journal + ".block-" + hash.String() + ".hex").BlockHash(); sv2.Hash(got) != hash {
		t.Errorf("block %v is in the file", got)
	}
}
