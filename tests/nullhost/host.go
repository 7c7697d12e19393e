// The host that says yes.

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	prefixSize     = sv2.DefaultPrefixSize
	extranonceSize = sv2.DefaultExtranonceSize
	// networkBits is difficulty 1: the load driver leaves out the few shares that are blocks.
	networkBits = 0x1d00ffff
	// firstHeight is a height of three bytes, as any of today.
	firstHeight = 900_000
)

// host is an sv2.Host that accepts everything. All channels have the same job.
type host struct {
	prefixes *sv2.ExtranonceAllocator

	mu       sync.Mutex
	job      *sv2.Job
	tips     uint32
	channels map[*channel]struct{}
}

func newHost() (*host, error) {
	prefixes, err := sv2.NewExtranonceAllocator(nil, prefixSize)
	if err != nil {
		return nil, err
	}
	h := &host{prefixes: prefixes, channels: make(map[*channel]struct{})}
	h.renewLocked(true)
	return h, nil
}

// renewLocked makes the next job, on a new tip or on the same one. The caller holds mu, or nobody else
// knows the host.
func (h *host) renewLocked(tip bool) {
	id := uint64(1)
	if h.job != nil {
		id = h.job.ID + 1
	}
	if tip {
		h.tips++
	}
	var prevHash, sibling sv2.Hash
	binary.LittleEndian.PutUint32(prevHash[:], h.tips)
	binary.LittleEndian.PutUint64(sibling[:], id)
	height := firstHeight + h.tips
	h.job = &sv2.Job{
		ID: id, PrevHash: prevHash, NBits: networkBits, Version: 0x20000000,
		VersionMask: sv2.RollableVersionBits, MinNTime: uint32(time.Now().Unix()),
		MerklePath:     []sv2.Hash{sibling, {0x44}},
		CoinbasePrefix: coinbasePrefix(height), CoinbaseSuffix: coinbaseSuffix(),
		StaleRule: sv2.StaleStrict, Height: height,
	}
}

// coinbasePrefix is a coinbase up to the extranonce: version, one input of nothing, a script of the
// height and the extranonce.
func coinbasePrefix(height uint32) []byte {
	prefix := append([]byte{2, 0, 0, 0, 1}, make([]byte, 32)...)
	prefix = append(prefix, 0xff, 0xff, 0xff, 0xff, 4+prefixSize+extranonceSize, 3)
	return append(prefix, byte(height), byte(height>>8), byte(height>>16))
}

// coinbaseSuffix is the rest: a sequence, one output that anybody could spend, and a lock time.
func coinbaseSuffix() []byte {
	suffix := binary.LittleEndian.AppendUint64([]byte{0xff, 0xff, 0xff, 0xff, 1}, 50_0000_0000)
	return append(suffix, 1, 0x51, 0, 0, 0, 0)
}

// tell gives all channels other work.
func (h *host) tell(tip bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewLocked(tip)
	for c := range h.channels {
		c.sink.Job(h.job)
	}
}

// Limits is that every hash is a share.
func (h *host) Limits() sv2.Limits {
	return sv2.Limits{Easiest: sv2.MaxTarget, Software: software}
}

// OpenChannel lets everybody in.
func (h *host) OpenChannel(
	_ context.Context, request sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	if request.MinExtranonceSize > extranonceSize {
		return nil, sv2.Opened{}, &sv2.Refusal{Reason: sv2.RefuseExtranonceSize}
	}
	prefix, err := h.prefixes.Allocate()
	if errors.Is(err, sv2.ErrNoPrefix) {
		return nil, sv2.Opened{}, &sv2.Refusal{Reason: sv2.RefuseCapacity}
	} else if err != nil {
		return nil, sv2.Opened{}, err
	}
	c := &channel{host: h, sink: sink, prefix: prefix}
	opened := sv2.Opened{Prefix: prefix, ExtranonceSize: extranonceSize, Target: request.MaxTarget}
	if request.Kind == sv2.Standard { // its prefix is the whole extranonce
		opened.Prefix, opened.ExtranonceSize = slices.Concat(prefix, make([]byte, extranonceSize)), 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.channels[c] = struct{}{}
	opened.Job = h.job
	return c, opened, nil
}

// Drain has nothing to wait for.
func (h *host) Drain(context.Context) error { return nil }

// channel is one open channel.
type channel struct {
	host   *host
	sink   sv2.Sink
	prefix []byte
	// verdicts is memory for a batch.
	verdicts []sv2.Verdict
}

// Submit accepts all of it, at once and unseen. The hash is none: it only differs from share to share.
func (c *channel) Submit(batch []sv2.Submit) {
	c.verdicts = c.verdicts[:0]
	for i := range batch {
		verdict := sv2.Verdict{SubmitID: batch[i].ID, Credit: sv2.Difficulty{Fraction: 1}}
		binary.LittleEndian.PutUint64(verdict.Hash[:], batch[i].ID)
		c.verdicts = append(c.verdicts, verdict)
	}
	c.sink.Verdicts(c.verdicts)
}

// Update takes whatever a miner says of itself.
func (c *channel) Update(context.Context, sv2.UpdateRequest) error { return nil }

// Close forgets the channel.
func (c *channel) Close(string) {
	c.host.mu.Lock()
	delete(c.host.channels, c)
	c.host.mu.Unlock()
	c.host.prefixes.Release(c.prefix)
}
