// What became of a block, as the sidecar is told.
package session

import (
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func TestABlockThatNobodyDecidedOnIsToldAsNeitherTakenNorRefused(t *testing.T) {
	for _, test := range []struct {
		result             sv2.BlockResult
		known, wasAccepted bool
	}{
		{sv2.BlockResult{Accepted: true}, true, true},
		{sv2.BlockResult{}, true, false},
		{sv2.BlockResult{Unknown: true}, false, false},
	} {
		got := blockResultMessage(1, test.result).GetBlockResult()
		if (got.Accepted != nil) != test.known || got.GetAccepted() != test.wasAccepted {
			t.Errorf("%+v is told as %v", test.result, got)
		}
	}
}
