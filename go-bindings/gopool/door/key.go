// The authority key, made without the sidecar's program: the file is that of `gopool-sv2 keygen`.

package door

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
)

// keySize is the length of a secret key in bytes.
const keySize = 32

// curveOrder is that of secp256k1 (SEC 2, 2.4.1): a secret key is a number from 1 to below it.
var curveOrder = [keySize]byte{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
	0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
}

// makeKey makes the key file at path, mode 0600, unless there is one; made says whether it did. The file
// appears whole or not at all. Blocks on the disk.
func makeKey(path string) (made bool, err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return false, err
	}
	secret := make([]byte, keySize)
	for { // once: nearly all numbers of 32 bytes are keys
		if _, err := rand.Read(secret); err != nil {
			return false, fmt.Errorf("get random numbers from the system: %w", err)
		}
		if isKey(secret) {
			break
		}
	}
	file, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return false, err
	}
	_, err = file.WriteString(base58Check(secret) + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Link(file.Name(), path) // which replaces nothing
	}
	err = errors.Join(err, os.Remove(file.Name()))
	if err != nil {
		return false, err
	}
	directory, err := os.Open(folder)
	if err != nil {
		return true, err
	}
	return true, errors.Join(directory.Sync(), directory.Close())
}

// isKey says whether a number is a secret key.
func isKey(secret []byte) bool {
	return slices.Compare(secret, curveOrder[:]) < 0 &&
		slices.ContainsFunc(secret, func(b byte) bool { return b != 0 })
}

// base58Check is bytes with the first four of their double SHA-256, in base58.
func base58Check(bytes []byte) string {
	once := sha256.Sum256(bytes)
	check := sha256.Sum256(once[:])
	rest := new(big.Int).SetBytes(slices.Concat(bytes, check[:4]))
	const characters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var text []byte
	for digit, base := new(big.Int), big.NewInt(58); rest.Sign() > 0; {
		rest.QuoRem(rest, base, digit)
		text = append(text, characters[digit.Int64()])
	}
	for _, b := range bytes { // a zero byte in front is a 1
		if b != 0 {
			break
		}
		text = append(text, characters[0])
	}
	slices.Reverse(text)
	return string(text)
}
