// Journals of the sidecar and minipool.

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// event is a line of a journal, with the fields that matter here.
type event struct {
	Event    string
	Conn     uint64
	Channel  uint64
	SubmitID uint64 `json:"submit_id"`
	Accepted bool
	Reason   string
	User     string
	Kind     string
	Credit   struct{ Whole, Fraction uint64 }
	Detail   string
	Dropped  uint64
}

// difficulty is what an accepted share was credited with.
func (e event) difficulty() float64 {
	return float64(e.Credit.Whole) + float64(e.Credit.Fraction)/(1<<32)
}

type books []event

// readBooks reads the whole lines of a journal that is perhaps being written.
func readBooks(path string) (books, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var read books
	lines := bytes.Split(data, []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s: %w in %s", path, err, line)
		}
		read = append(read, e)
	}
	return read, nil
}

// of is the lines of one kind.
func (b books) of(kind string) (found books) {
	for _, e := range b {
		if e.Event == kind {
			found = append(found, e)
		}
	}
	return found
}

// shares is what became of submits: the sidecar's answers, or minipool's verdicts.
func (b books) shares() books { return append(b.of("answer"), b.of("verdict")...) }

// accepted counts shares.
func (b books) accepted() int {
	count := 0
	for _, e := range b.shares() {
		if e.Accepted {
			count++
		}
	}
	return count
}

// rejected counts shares by reason.
func (b books) rejected() map[string]int {
	counts := map[string]int{}
	for _, e := range b.shares() {
		if !e.Accepted {
			counts[e.Reason]++
		}
	}
	return counts
}

// byUser counts accepted shares by user identity.
func (b books) byUser() map[string]int {
	counts := map[string]int{}
	for _, e := range b.of("verdict") {
		if e.Accepted {
			counts[e.User]++
		}
	}
	return counts
}

// difficulties are the different ones of accepted shares, ascending.
func (b books) difficulties() (found []float64) {
	for _, e := range b.of("verdict") {
		if e.Accepted {
			found = append(found, e.difficulty())
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// rise is the difficulty of the last accepted share as a multiple of the first one's.
func (b books) rise() float64 {
	var accepted books
	for _, e := range b.of("verdict") {
		if e.Accepted {
			accepted = append(accepted, e)
		}
	}
	if len(accepted) == 0 {
		return 1
	}
	return accepted[len(accepted)-1].difficulty() / accepted[0].difficulty()
}

// acceptedIDs names the accepted submits, ascending: the sidecar numbers those of all channels.
func (b books) acceptedIDs() (ids []uint64) {
	for _, e := range b.shares() {
		if e.Accepted {
			ids = append(ids, e.SubmitID)
		}
	}
	slices.Sort(ids)
	return ids
}

func total(counts map[string]int) (sum int) {
	for _, count := range counts {
		sum += count
	}
	return sum
}
