// What is told of a block that no node has decided on.
package sv2

import (
	"context"
	"errors"
	"fmt"
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
