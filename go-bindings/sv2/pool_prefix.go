// Extranonce prefixes that are needed before there is a channel.

package sv2

import (
	"bytes"
	"fmt"
)

// ReservePrefix sets an extranonce prefix aside for a channel that is opened later: with it as its
// [OpenRequest].WantedPrefix that channel gets it, and nobody else does before. For doors that tell the
// extranonce first and ask for the user then, as Stratum V1 does. It is wanted, PrefixSize bytes, if that
// is free, or else a new one; the caller's, and to be given back with [Pool.ReleasePrefix].
func (p *Pool) ReservePrefix(wanted []byte) ([]byte, error) {
	prefix := bytes.Clone(wanted)
	if p.prefixes.AllocateWanted(prefix) != nil {
		var err error
		if prefix, err = p.prefixes.Allocate(); err != nil {
			return nil, fmt.Errorf("reserve a prefix: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reserved[string(prefix)] = struct{}{}
	return prefix, nil
}

// ReleasePrefix gives a reserved prefix back, and does nothing once a channel was opened with it, which
// then gives it back at its end. It reports whether it was still set aside.
func (p *Pool) ReleasePrefix(prefix []byte) bool {
	if !p.claim(prefix) {
		return false
	}
	return p.prefixes.Release(prefix)
}

// claim takes a prefix over from who reserved it.
func (p *Pool) claim(prefix []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, reserved := p.reserved[string(prefix)]; !reserved {
		return false
	}
	delete(p.reserved, string(prefix))
	return true
}
