// The data directory: block database, network bits and wallet key.

package chain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/database"
	_ "github.com/btcsuite/btcd/database/ffldb" // registers the database type
)

const (
	databaseType = "ffldb"

	bitsFile    = "network-bits" // the compact target as 0x%08x
	keyFile     = "wallet.key"   // the private key, 64 hexadecimal digits
	blocksDir   = "blocks"       // btcd's database
	journalFile = "journal"      // blocks since the last clean stop or replay
)

// store is the data directory: the block database, the journal and the wallet key.
type store struct {
	dir       string
	temporary bool
	db        database.DB
	journal   *journal // nil when temporary: nothing is to survive
	key       *btcec.PrivateKey
	log       *slog.Logger
}

func openStore(path string, params *chaincfg.Params, log *slog.Logger) (st *store, err error) {
	dir, temporary, err := makeDir(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	st = &store{dir: dir, temporary: temporary, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.close(false))
			st = nil
		}
	}()
	if err := checkBits(filepath.Join(dir, bitsFile), params.PowLimitBits); err != nil {
		return st, err
	}
	// The database comes before key and journal: its lock keeps other processes away from them.
	if st.db, err = openDatabase(filepath.Join(dir, blocksDir), params); err != nil {
		return st, err
	}
	if temporary {
		if st.key, err = btcec.NewPrivateKey(); err != nil {
			return st, fmt.Errorf("wallet key: %w", err)
		}
		return st, nil
	}
	if st.key, err = loadKey(filepath.Join(dir, keyFile)); err != nil {
		return st, fmt.Errorf("wallet key: %w", err)
	}
	if st.journal, err = openJournal(filepath.Join(dir, journalFile)); err != nil {
		return st, fmt.Errorf("journal: %w", err)
	}
	return st, nil
}

// reopen closes the block database, which writes all of it to disk, and opens it again.
func (s *store) reopen(params *chaincfg.Params) error {
	db := s.db
	s.db = nil
	if err := db.Close(); err != nil {
		return fmt.Errorf("close block database: %w", err)
	}
	var err error
	s.db, err = openDatabase(filepath.Join(s.dir, blocksDir), params)
	return err
}

// close releases the directory. With clean set everything is known to be in the database, which
// makes the journal superfluous.
func (s *store) close(clean bool) error {
	var errs []error
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close block database: %w", err))
			clean = false
		}
	}
	if s.journal != nil {
		errs = append(errs, s.journal.close(clean))
	}
	if s.temporary {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// checkBits compares the bits the directory was created with, or records them in a new directory.
func checkBits(path string, bits uint32) error {
	want := fmt.Sprintf("0x%08x", bits)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeFile(path, want+"\n", 0o644)
	}
	if err != nil {
		return fmt.Errorf("network bits: %w", err)
	}
	if have := strings.TrimSpace(string(raw)); have != want {
		return fmt.Errorf("the data directory %s was created with network bits %q, not %s: "+
			"start with the old bits, choose another directory or remove this one",
			filepath.Dir(path), have, want)
	}
	return nil
}

// loadKey reads the wallet key, or makes one and stores it readable by its owner only.
func loadKey(path string) (*btcec.PrivateKey, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := btcec.NewPrivateKey()
		if err != nil {
			return nil, err
		}
		return key, writeFile(path, hex.EncodeToString(key.Serialize())+"\n", 0o600)
	}
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, others can read it: chmod 600 it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The content of the file stays out of every error.
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != btcec.PrivKeyBytesLen {
		return nil, fmt.Errorf("%s is not a key of 64 hexadecimal digits: "+
			"restore it, or remove it to start with a new key", path)
	}
	var scalar btcec.ModNScalar
	if overflow := scalar.SetByteSlice(raw); overflow || scalar.IsZero() {
		return nil, fmt.Errorf("%s is not a valid private key: "+
			"restore it, or remove it to start with a new key", path)
	}
	key, _ := btcec.PrivKeyFromBytes(raw)
	return key, nil
}

// writeFile writes a small file so that after a crash it is whole or absent.
func writeFile(path, content string, mode fs.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.WriteString(content)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
