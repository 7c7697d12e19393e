// Package testlog is for tests of logs.
package testlog

import (
	"strings"
	"sync"
)

// Buffer is what was logged. It may be read while it is written, by any goroutine. The zero value is
// empty.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes text in.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all text so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
