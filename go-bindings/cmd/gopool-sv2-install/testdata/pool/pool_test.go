package main

import "testing"

func TestConfig(t *testing.T) {
	cfg, err := loadConfig("x")
	if err != nil || cfg.ListenAddr != "x" {
		t.Fatal(cfg, err)
	}
	if NewMinerConn(t.Context(), nil, nil, cfg, nil, true).cfg != cfg {
		t.Fatal("another configuration")
	}
}
