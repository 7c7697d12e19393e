package sv1

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// noncesEach is how many nonces are tried with one version and extranonce2: few, so that both are
// rolled all the time.
const noncesEach = 1 << 15

// look is how many hashes pass between two looks for new work; a power of two.
const look = 1 << 12

// work is a job with what was in force when it came.
type work struct {
	job
	target     target
	extranonce []byte
	size       int
	mask       uint32
	rolls      uint64 // versions and extranonces tried
}

// share is a submit.
type share struct {
	prevHash [32]byte
	rolled   uint32 // bits of the version that are not the job's
}

// notified takes a job: the difficulty and extranonce set before are in force from now on.
func (m *Miner) notified(params []byte) error {
	w := new(work)
	if err := json.Unmarshal(params, &w.job); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	target, err := targetOf(m.difficulty)
	if err != nil {
		return err
	}
	if m.size == 0 {
		return errors.New("work before the extranonce")
	}
	w.target, w.extranonce, w.size, w.mask = target, m.extranonce, m.size, m.stats.VersionMask
	m.job = w
	m.stats.Jobs++
	m.changed.Add(1)
	return nil
}

// answered takes the answer to a submit, or to a call.
func (m *Miner) answered(answer message) error {
	if answer.ID == nil {
		return errors.New("an answer without id")
	}
	id := *answer.ID
	m.mu.Lock()
	defer m.mu.Unlock()
	if answers, ok := m.calls[id]; ok {
		delete(m.calls, id)
		answers <- answer
		return nil
	}
	submit, ok := m.submits[id]
	if !ok {
		return errors.New("an answer that nobody waits for")
	}
	delete(m.submits, id)
	if err := answer.fault(); err != nil || string(answer.Result) != "true" {
		m.stats.Rejected[string(answer.Error)]++
		return nil
	}
	m.stats.Accepted++
	m.accepted[submit.prevHash] = true
	if submit.rolled != 0 {
		m.stats.VersionsRolled++
		m.stats.BitsRolled |= submit.rolled
	}
	return nil
}

// present is the work to do; nil when there is none. over: the connection ended.
func (m *Miner) present() (w *work, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.paused {
		return nil, m.err != nil
	}
	return m.job, m.err != nil
}

// mine searches until the connection ends.
func (m *Miner) mine() {
	for {
		changed := m.changed.Load()
		w, over := m.present()
		switch {
		case over:
			return
		case w == nil:
			time.Sleep(10 * time.Millisecond)
		default:
			m.search(w, changed)
		}
	}
}

// search tries nonces with the next version and extranonce2 of some work, until there is other work.
func (m *Miner) search(w *work, changed uint64) {
	extranonce2 := w.extranonce2()
	version := spread(uint32(w.rolls), w.mask) | w.version&^w.mask
	w.rolls++
	header := w.header(append(append([]byte(nil), w.extranonce...), extranonce2...), version)
	for nonce := uint32(0); nonce < noncesEach; nonce++ {
		if nonce%look == 0 {
			if m.changed.Load() != changed {
				return
			}
			runtime.Gosched()
		}
		binary.LittleEndian.PutUint32(header[76:], nonce)
		hash := doubleHash(header[:])
		if w.target.meets(&hash) {
			if m.submit(w, extranonce2, version, nonce) != nil {
				return // the reader sees why
			}
		}
	}
}

// extranonce2 is another one for each roll, with its first and last byte in use.
func (w *work) extranonce2() []byte {
	var roll [8]byte
	binary.LittleEndian.PutUint64(roll[:], w.rolls)
	extranonce2 := make([]byte, w.size)
	copy(extranonce2, roll[:])
	extranonce2[w.size-1] ^= 0xff
	return extranonce2
}

func (m *Miner) submit(w *work, extranonce2 []byte, version, nonce uint32) error {
	number := func(n uint32) string { return fmt.Sprintf("%08x", n) }
	params := []any{m.worker, w.id, hex.EncodeToString(extranonce2), number(w.ntime), number(nonce)}
	if w.mask != 0 {
		params = append(params, number(version&w.mask))
	}
	return m.send("mining.submit", params, func(id int) {
		m.stats.Submitted++
		m.submits[id] = share{prevHash: w.prevHash, rolled: version ^ w.version}
	})
}

// spread puts the bits of a number into those of a mask, in turn the lowest and the highest free one,
// so that small numbers use both ends.
func spread(number, mask uint32) uint32 {
	var bits uint32
	for low := true; number != 0 && mask != 0; low = !low {
		bit := mask & -mask
		if !low {
			bit = 1
			for mask>>1 >= bit {
				bit <<= 1
			}
		}
		if number&1 != 0 {
			bits |= bit
		}
		number >>= 1
		mask &^= bit
	}
	return bits
}
