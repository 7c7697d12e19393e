// What is told of a block that no node has decided on.
package sv2

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// strike submits a share that is a block.
func (m *miner) strike(t *testing.T, r *rig) Submit {
	t.Helper()
	network, err := TargetFromNBits(r.nbits.Load())
	if err != nil {
		t.Fatal(err)
	}
	submit := m.shares(m.job(), 1)[0]
	root := MerkleRoot(m.job(), m.Prefix, submit.Extranonce)
	for ; !HashHeader(Header(m.job(), root, submit)).Meets(network); submit.Nonce++ {
	}
	m.next = max(m.next, uint64(submit.Nonce)) // the next is another header
	m.Submit([]Submit{submit})
	return submit
}

func TestABlockThatNoNodeDecidedOnIsNotCalledRefused(t *testing.T) {
	answers := map[string]error{
		"taken":        nil,
		"refused":      errors.New("bad-cb-amount"),
		"not asked":    fmt.Errorf("%w: the template is forgotten", ErrUndecided),
		"the pool end": fmt.Errorf("submit: %w", context.Canceled),
		"too slow":     fmt.Errorf("submit: %w", context.DeadlineExceeded),
	}
	for name, answer := range answers {
		r := newRig(t, func(c *PoolConfig, _ *rig) {
			c.OnBlock = func(context.Context, Block) error { return answer }
		})
		r.nbits.Store(easyBits)
		m := r.join(t, extendedRequest())
		submit := m.strike(t, r)
		got := await[BlockResult](t, m.tape, 1)[0]
		decided := name == "taken" || name == "refused"
		if got.SubmitID != submit.ID || got.Accepted != (name == "taken") || got.Unknown == decided ||
			answer != nil && got.Detail != answer.Error() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestABlockThatIsNotOfferedIsToldWithAllThatItTakesToSubmitIt(t *testing.T) {
	gate := make(chan struct{})
	var mu sync.Mutex
	var told []*UnofferedBlock
	r := newRig(t, func(c *PoolConfig, _ *rig) {
		c.OnBlock = func(context.Context, Block) error {
			<-gate
			return nil
		}
		c.OnError = func(err error) {
			unoffered := (*UnofferedBlock)(nil)
			if !errors.As(err, &unoffered) || !Undecided(err) {
				t.Errorf("not an unoffered block: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, unoffered)
			text := err.Error()
			for _, part := range []string{unoffered.Block.Hash.String(),
				fmt.Sprintf("header %x,", unoffered.Block.Header),
				fmt.Sprintf("coinbase %x and", unoffered.Block.Coinbase)} {
				if !strings.Contains(text, part) {
					t.Errorf("%q has no %q", text, part)
				}
			}
		}
	})
	r.nbits.Store(easyBits)
	m := r.join(t, extendedRequest())
	const sent = 3 * blockQueue // every second is a block
	m.Submit(m.shares(m.job(), sent))
	blocks := 0
	for _, verdict := range await[Verdict](t, m.tape, sent) {
		if verdict.BlockCandidate {
			blocks++
		}
	}
	close(gate)
	unknown := 0
	for _, result := range await[BlockResult](t, m.tape, blocks) {
		if result.Unknown {
			unknown++
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) < blocks-blockQueue-blockOffers || len(told) == 0 || len(told) != unknown {
		t.Errorf("%d of %d blocks told, %d of unknown fate", len(told), blocks, unknown)
	}
	for _, one := range told {
		if HashHeader(one.Block.Header) != one.Block.Hash || one.Block.Job != m.job() {
			t.Errorf("told of %+v", one.Block)
		}
	}
}
