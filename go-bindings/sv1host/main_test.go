// Promises of package sv1host. Every test ends with no goroutine left.
package sv1host

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
