// The journal: the blocks that a crash would take from the block database.

package chain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// journal keeps the blocks accepted since the last clean stop. btcd's database holds its index in
// memory for up to five minutes, so that a killed process would lose the blocks of that time.
//
// Each record is the length of the block (4 bytes, little-endian), the first 4 bytes of the double
// SHA-256 of the block, and the block as on the wire.
type journal struct {
	file   *os.File
	blocks []*btcutil.Block // found when opened; nil after the replay
	torn   bool             // the file ended in a broken record, which has been cut off
	end    int64            // where the last whole record ends
	owed   []*btcutil.Block // that could not be written, oldest first: they go before the next
}

const journalHeaderLen = 8

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err = j.read(); err == nil {
		err = file.Truncate(j.end)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// read loads all whole records.
func (j *journal) read() error {
	data, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	for rest := data; len(rest) > 0; rest = data[j.end:] {
		block, size := parseRecord(rest)
		if block == nil {
			j.torn = true
			return nil
		}
		j.blocks = append(j.blocks, block)
		j.end += int64(size)
	}
	return nil
}

// parseRecord returns the first record's block and the record's length, or nil if it is broken.
func parseRecord(data []byte) (*btcutil.Block, int) {
	if len(data) < journalHeaderLen {
		return nil, 0
	}
	size := binary.LittleEndian.Uint32(data)
	body := data[journalHeaderLen:]
	if size > wire.MaxBlockPayload || int(size) > len(body) {
		return nil, 0
	}
	body = body[:size]
	if !bytes.Equal(chainhash.DoubleHashB(body)[:4], data[4:journalHeaderLen]) {
		return nil, 0
	}
	block, err := btcutil.NewBlockFromBytes(body)
	if err != nil {
		return nil, 0
	}
	return block, journalHeaderLen + int(size)
}

// append writes the block, and before it those that could not be written, and waits until all are on
// disk: a block without its parent would be of no use.
func (j *journal) append(block *btcutil.Block) error {
	j.owed = append(j.owed, block)
	var records []byte
	for _, block := range j.owed {
		raw, err := block.Bytes()
		if err != nil {
			return err
		}
		records = binary.LittleEndian.AppendUint32(records, uint32(len(raw)))
		records = append(records, chainhash.DoubleHashB(raw)[:4]...)
		records = append(records, raw...)
	}
	// At a known place: what a failed write left behind is overwritten, not read as a torn end.
	if _, err := j.file.WriteAt(records, j.end); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.end += int64(len(records))
	j.owed = nil
	return nil
}

// clear empties the journal, whose blocks are in the database for good.
func (j *journal) clear() error {
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	j.end = 0
	return j.file.Sync()
}

// close closes the journal; drop removes it as well.
func (j *journal) close(drop bool) error {
	err := j.file.Close()
	if drop {
		err = errors.Join(err, os.Remove(j.file.Name()))
	}
	return err
}

// replay gives the chain the blocks of the journal that its database lost. They are validated like
// any other block. It reports whether there were any blocks in the journal, lost or not.
func (s *store) replay(blocks *blockchain.BlockChain) (held bool, err error) {
	if s.journal == nil {
		return false, nil
	}
	restored := 0
	for _, block := range s.journal.blocks {
		_, orphan, err := blocks.ProcessBlock(block, blockchain.BFNone)
		if isDuplicate(err) {
			continue
		}
		if err == nil && orphan {
			err = errors.New("its parent is missing")
		}
		if err != nil {
			return false, fmt.Errorf("block %v in %s is not accepted any more: %w (is the clock right? "+
				"otherwise remove the file, the blocks in it are then lost)",
				block.Hash(), s.journal.file.Name(), err)
		}
		restored++
	}
	if restored > 0 || s.journal.torn {
		s.log.Warn("the chain was not closed cleanly",
			"restored_blocks", restored, "broken_last_record", s.journal.torn)
	}
	held = len(s.journal.blocks) > 0
	s.journal.blocks = nil
	return held, nil
}
