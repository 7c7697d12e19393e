//go:build sv2bridge

package main

import "testing"

func TestSV2BridgeIsOff(t *testing.T) {
	if *sv2bridgeOn {
		t.Fatal("on by itself")
	}
}
