// The number of a start of the pool, counted in a file.

package sv2

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// NextEra is the number of this start for [PoolConfig].Era: one more than that in the file at path, which
// it writes and syncs before it returns, so that no crash makes two starts have the same. A file that
// isn't there is made, with a number drawn at random: after its loss the eras before are most likely not
// met again. It may be used by one process at a time; a pool locks what it has anyway.
func NextEra(path string) (uint64, error) {
	era, err := readEra(path)
	if err != nil {
		return 0, fmt.Errorf("number of this start of the pool: %w", err)
	}
	if era++; era == 0 {
		era = 1
	}
	if err := writeEra(path, era); err != nil {
		return 0, fmt.Errorf("number of this start of the pool: %w", err)
	}
	return era, nil
}

func readEra(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var drawn [8]byte
		if _, err := rand.Read(drawn[:]); err != nil {
			return 0, err
		}
		return binary.LittleEndian.Uint64(drawn[:]) >> 16, nil
	}
	if err != nil {
		return 0, err
	}
	era, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s does not hold a number (remove it to start anew): %w", path, err)
	}
	return era, nil
}

// writeEra replaces the file: whoever reads it, after whatever crash, finds the old number or the new.
func writeEra(path string, era uint64) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.WriteString(strconv.FormatUint(era, 10) + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
