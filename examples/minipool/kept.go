// Blocks that no node has decided on: kept for the operator to submit by hand.

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// keepAfter is how long a node may take to decide on a block before the block is kept in a file: the pool
// may end at any moment.
const keepAfter = 5 * time.Second

// offer submits a block. While nobody has decided on it, and where nobody ever does, it is in a file.
func (m *minipool) offer(ctx context.Context, block *wire.MsgBlock) error {
	decided := make(chan struct{})
	var keeping sync.WaitGroup
	keeping.Go(func() {
		timer := time.NewTimer(m.keepAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
			m.keep(block)
		case <-decided:
		}
	})
	err := m.source.Submit(ctx, block)
	close(decided)
	keeping.Wait()
	if errors.Is(err, chain.ErrClosed) {
		err = fmt.Errorf("%w: %w", sv2.ErrUndecided, err)
	}
	if sv2.Undecided(err) {
		m.keep(block)
	} else if path := m.keptPath(block); path != "" {
		if err := os.Remove(path); err == nil {
			m.log.Info("the block is decided on: its file is gone", "file", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("the block is decided on, its file is of no use", "file", path, "err", err)
		}
	}
	return err
}

// onError is sv2.PoolConfig.OnError.
func (m *minipool) onError(err error) {
	m.log.Error("pool", "err", err)
	unoffered := (*sv2.UnofferedBlock)(nil)
	if !errors.As(err, &unoffered) {
		return
	}
	b := unoffered.Block
	if block, err := m.assemble(b); err == nil {
		m.keep(block)
	}
	if err := m.journal.block(b, sv2.ErrUndecided); err != nil {
		m.log.Error("block is not in the journal", "hash", b.Hash, "err", err)
	}
}

// keptPath is the file for a block, beside what lasts: the chain, else the journal. Empty when nothing does.
func (m *minipool) keptPath(block *wire.MsgBlock) string {
	name := fmt.Sprintf("block-%v.hex", block.BlockHash())
	switch {
	case m.settings.dataDir != "":
		return filepath.Join(m.settings.dataDir, name)
	case m.journal.lasts():
		return m.settings.journal + "." + name
	default:
		return ""
	}
}

// keep writes a block to its file, as nodes take it, and says what to do with it. What can't be written is
// in the log.
func (m *minipool) keep(block *wire.MsgBlock) {
	hash, path := block.BlockHash(), m.keptPath(block)
	var raw bytes.Buffer
	if err := block.Serialize(&raw); err != nil { // not reached: a buffer takes everything
		m.log.Error("a block can't be kept", "hash", hash, "err", err)
		return
	}
	text := hex.EncodeToString(raw.Bytes())
	err := errors.New("neither -datadir nor -journal is given")
	if path != "" {
		err = writeWhole(path, text+"\n")
	}
	if err != nil {
		m.log.Error("no node has decided on a block yet, and it can't be written to a file: submit it by "+
			"hand with the node's submitblock", "hash", hash, "err", err, "block", text)
		return
	}
	m.log.Error("no node has decided on a block yet: it is in a file. Submit it by hand if the pool ends "+
		"before, with bitcoin-cli -stdin submitblock < FILE, or btcctl submitblock - < FILE",
		"hash", hash, "file", path)
}

// writeWhole writes a file that is whole on the disk, or not there.
func writeWhole(path, text string) error {
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}
