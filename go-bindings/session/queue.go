// Ids in ascending order, taken out mostly at the front.

package session

import "slices"

// queue holds ids that were added in ascending order. The zero value is empty.
type queue struct {
	ids  []uint64
	head int
}

func (q *queue) all() []uint64 { return q.ids[q.head:] }

func (q *queue) len() int { return len(q.ids) - q.head }

func (q *queue) has(id uint64) bool {
	_, ok := slices.BinarySearch(q.all(), id)
	return ok
}

// add appends an id greater than all before.
func (q *queue) add(id uint64) {
	if q.head > 0 && len(q.ids) == cap(q.ids) {
		q.ids = q.ids[:copy(q.ids, q.all())]
		q.head = 0
	}
	q.ids = append(q.ids, id)
}

// remove takes an id out and reports whether it was there. A host that answers in order makes it cheap.
func (q *queue) remove(id uint64) bool {
	rest := q.all()
	if len(rest) == 0 || rest[0] != id {
		at, ok := slices.BinarySearch(rest, id)
		if !ok {
			return false
		}
		// The elder ones move up, so that the front stays cheap.
		copy(rest[1:at+1], rest[:at])
	}
	q.head++
	if q.head == len(q.ids) {
		q.ids, q.head = q.ids[:0], 0
	}
	return true
}
