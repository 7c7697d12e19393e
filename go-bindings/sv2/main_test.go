// Promises of package sv2. Every test ends with no goroutine left.
package sv2

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
