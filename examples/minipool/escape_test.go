// What a miner sends, in a journal.

package main

import (
	"strconv"
	"testing"
)

func TestEscapedBytesAreHarmlessAndComeBack(t *testing.T) {
	texts := []string{"", "bc1qworker.rig-1", `a "b"`, `back\slash`, "line\nend", "\x7f", "nul\x00", "ä", "\xff"}
	for b := range 256 {
		texts = append(texts, "x"+string([]byte{byte(b)})+"y")
	}
	for _, text := range texts {
		escaped := escape([]byte(text))
		for _, b := range []byte(escaped) {
			if b < ' ' || b > '~' {
				t.Errorf("%q is written as %q", text, escaped)
			}
		}
		back, err := strconv.Unquote(`"` + escaped + `"`)
		if err != nil || back != text {
			t.Errorf("%q comes back as %q, %v", text, back, err)
		}
	}
}
