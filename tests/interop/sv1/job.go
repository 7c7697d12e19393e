package sv1

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
)

// job is one mining.notify.
type job struct {
	id       string
	prevHash [32]byte // as in the header
	coinb1   []byte
	coinb2   []byte
	branch   [][32]byte // as hashed
	version  uint32
	bits     uint32
	ntime    uint32
	clean    bool
}

// UnmarshalJSON reads the nine parameters of mining.notify.
func (j *job) UnmarshalJSON(params []byte) error {
	var id, prevHash, coinb1, coinb2, version, bits, ntime string
	var branch []string
	fields := []any{&id, &prevHash, &coinb1, &coinb2, &branch, &version, &bits, &ntime, &j.clean}
	count := len(fields)
	if err := json.Unmarshal(params, &fields); err != nil {
		return err
	}
	if len(fields) != count {
		return fmt.Errorf("%d parameters, not %d", len(fields), count)
	}
	j.id = id
	var errs [7]error
	j.prevHash, errs[0] = decodeHash(prevHash)
	swapWords(&j.prevHash)
	j.coinb1, errs[1] = hex.DecodeString(coinb1)
	j.coinb2, errs[2] = hex.DecodeString(coinb2)
	j.version, errs[3] = decodeUint32(version)
	j.bits, errs[4] = decodeUint32(bits)
	j.ntime, errs[5] = decodeUint32(ntime)
	for _, text := range branch {
		hash, err := decodeHash(text)
		errs[6] = errors.Join(errs[6], err)
		j.branch = append(j.branch, hash)
	}
	return errors.Join(errs[:]...)
}

// header is the 80 bytes to hash, with nonce 0.
func (j *job) header(extranonce []byte, version uint32) [80]byte {
	coinbase := make([]byte, 0, len(j.coinb1)+len(extranonce)+len(j.coinb2))
	coinbase = append(append(append(coinbase, j.coinb1...), extranonce...), j.coinb2...)
	root := doubleHash(coinbase)
	for _, hash := range j.branch {
		root = doubleHash(append(root[:], hash[:]...))
	}
	var header [80]byte
	binary.LittleEndian.PutUint32(header[0:], version)
	copy(header[4:], j.prevHash[:])
	copy(header[36:], root[:])
	binary.LittleEndian.PutUint32(header[68:], j.ntime)
	binary.LittleEndian.PutUint32(header[72:], j.bits)
	return header
}

func doubleHash(data []byte) [32]byte {
	once := sha256.Sum256(data)
	return sha256.Sum256(once[:])
}

// target is the largest hash of a share, its most significant bytes first.
type target [32]byte

// targetOf is the target of a difficulty: that of difficulty 1 is 0xffff * 2^208.
func targetOf(difficulty float64) (target, error) {
	if !(difficulty > 0) || math.IsInf(difficulty, 1) {
		return target{}, fmt.Errorf("difficulty %v", difficulty)
	}
	one := new(big.Float).SetMantExp(big.NewFloat(0xffff), 208)
	number, _ := new(big.Float).Quo(one, big.NewFloat(difficulty)).Int(nil)
	var t target
	if number.BitLen() > 256 {
		for i := range t {
			t[i] = 0xff
		}
		return t, nil
	}
	number.FillBytes(t[:])
	return t, nil
}

// meets tells whether a hash, its least significant byte first, is below the target.
func (t *target) meets(hash *[32]byte) bool {
	for i := range t {
		if digit := hash[31-i]; digit != t[i] {
			return digit < t[i]
		}
	}
	return false
}

// swapWords turns the prev-hash of mining.notify, whose 4-byte words are reversed, into that of a header.
func swapWords(hash *[32]byte) {
	for i := 0; i < len(hash); i += 4 {
		word := hash[i : i+4]
		binary.BigEndian.PutUint32(word, binary.LittleEndian.Uint32(word))
	}
}

func decodeHash(text string) (hash [32]byte, err error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(hash) {
		return hash, fmt.Errorf("%q is not a hash", text)
	}
	return [32]byte(data), nil
}

func decodeUint32(text string) (uint32, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != 4 {
		return 0, fmt.Errorf("%q is not a number of 8 hexadecimal digits", text)
	}
	return binary.BigEndian.Uint32(data), nil
}
