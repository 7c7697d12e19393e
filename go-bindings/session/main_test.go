// No test leaves a goroutine behind.

package session

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine of every test must be gone in the end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
