// The pool's journal, and what a miner knows of its own shares.

package e2e

import (
	"bufio"
	"encoding/json"
	"math/bits"
	"os"
	"path/filepath"
	"sync"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
	"github.com/gopool-sv2/gopool-sv2/tests/sv2client/cpuminer"
)

// verdict is a share in the pool's journal, or another line that has some of the same.
type verdict struct {
	Event    string `json:"event"`
	Accepted bool   `json:"accepted"`
	Reason   string `json:"reason"`
	Hash     string `json:"hash"`
	User     string `json:"user"`
	Worker   string `json:"worker"`
	Block    bool   `json:"block"`
	Credit   struct {
		Whole    uint64 `json:"whole"`
		Fraction uint64 `json:"fraction"` // of 2^32
	} `json:"credit"`
	Reasons map[string]int `json:"reasons"` // of rejected shares without a line of their own
}

// verdicts are the judged shares of one worker, in order.
func (l *line) verdicts(worker string) []verdict {
	l.t.Helper()
	return l.book("verdict", worker)
}

// book are the lines of an event in the pool's journal that are about one worker, in order.
func (l *line) book(event, worker string) []verdict {
	l.t.Helper()
	file, err := os.Open(filepath.Join(l.dir, "minipool.journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var found []verdict
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var v verdict
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			l.t.Fatalf("journal: %v: %s", err, lines.Text())
		}
		if v.Event == event && v.User == l.address+"."+worker {
			found = append(found, v)
		}
	}
	if err := lines.Err(); err != nil {
		l.t.Fatal(err)
	}
	return found
}

// notebook is what a miner writes down: shares it sent, answers it heard.
type notebook struct {
	mu       sync.Mutex
	sent     map[uint32]cpuminer.Found // by sequence number
	answered map[uint32]string         // code by sequence number; empty: the last of an accepted batch
	changed  chan struct{}             // has a token after a change
}

func newNotebook() *notebook {
	return &notebook{sent: make(map[uint32]cpuminer.Found), answered: make(map[uint32]string),
		changed: make(chan struct{}, 1)}
}

// found is for cpuminer.Options.
func (n *notebook) found(share cpuminer.Found) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent[share.Sequence] = share
}

// hear notes an answer.
func (n *notebook) hear(sequence uint32, code string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answered[sequence] = code
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// answer is the answer to a share, once it is heard.
func (n *notebook) answer(sequence uint32) (code string, heard bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	code, heard = n.answered[sequence]
	return code, heard
}

// compare holds the books of one miner against the pool's, share by share, when the line has stopped.
func (l *line) compare(r *rig) {
	l.t.Helper()
	<-r.client.Done() // until then the last answer may be on its way into the notebook
	worker, tally := r.worker, r.channel.Tally()
	ours := make(map[string]bool) // accepted hash: is it a block
	var refused int
	for sequence, share := range r.notes.sent {
		if code, _ := r.notes.answer(sequence); code != "" {
			refused++
			continue
		}
		network, err := sv2client.TargetFromNBits(share.Work.NBits)
		if err != nil {
			l.t.Fatal(err)
		}
		ours[share.Hash.String()] = network.MetBy(share.Hash)
	}
	if len(ours) != int(tally.Accepted) || refused != int(tally.RejectedSum()) {
		l.t.Errorf("%s: %d shares without a rejection, %d rejected, but the tally is %+v", worker,
			len(ours), refused, tally)
	}
	var accepted, rejected int
	var whole, fraction uint64
	for _, v := range l.verdicts(worker) {
		if !v.Accepted {
			rejected++
			continue
		}
		accepted++
		whole += v.Credit.Whole
		sum, carry := bits.Add64(fraction, v.Credit.Fraction<<32, 0)
		whole, fraction = whole+carry, sum
		block, known := ours[v.Hash]
		if !known {
			l.t.Errorf("%s: the pool credits %s, which we didn't send, or saw rejected", worker, v.Hash)
		}
		if block != v.Block {
			l.t.Errorf("%s: %s is a block: we say %v, the pool %v", worker, v.Hash, block, v.Block)
		}
		delete(ours, v.Hash)
	}
	for hash := range ours {
		l.t.Errorf("%s: the pool has no credit for %s, which it told us is accepted", worker, hash)
	}
	if uint64(accepted) != tally.Accepted {
		l.t.Errorf("%s: the pool accepted %d, told us %d", worker, accepted, tally.Accepted)
	}
	// The sidecar may refuse by itself what is no work of the channel; the rest is in the book.
	if uint64(rejected) > tally.RejectedSum() {
		l.t.Errorf("%s: the pool rejected %d, told us %d", worker, rejected, tally.RejectedSum())
	}
	if whole != tally.Difficulty {
		l.t.Errorf("%s: the pool credits difficulty %d, told us %d", worker, whole, tally.Difficulty)
	}
	l.t.Logf("%s: %d accepted, %d rejected %v, difficulty %d", worker, accepted, rejected,
		tally.Rejected, whole)
}
