// From a submit to the hash of its header.

package sv2

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// HeaderSize is the length of a block header in bytes.
const HeaderSize = 80

// Coinbase is the coinbase transaction of a share, without witness (SV2 spec 5.3.16): the job's prefix,
// the channel's extranonce prefix, the extranonce, the job's suffix.
func Coinbase(job *Job, prefix, extranonce []byte) []byte {
	size := len(job.CoinbasePrefix) + len(prefix) + len(extranonce) + len(job.CoinbaseSuffix)
	coinbase := make([]byte, 0, size)
	coinbase = append(coinbase, job.CoinbasePrefix...)
	coinbase = append(coinbase, prefix...)
	coinbase = append(coinbase, extranonce...)
	return append(coinbase, job.CoinbaseSuffix...)
}

// MerkleRoot is the merkle root of a share in internal order: the txid of [Coinbase], folded with the
// job's merkle path. prefix is the channel's extranonce prefix; extranonce what the miner rolled.
func MerkleRoot(job *Job, prefix, extranonce []byte) Hash {
	return newRootHasher().root(job, prefix, extranonce)
}

// Header is the block header of a share, serialized: version, prev-hash, merkle root, ntime, nbits and
// nonce, numbers little-endian.
func Header(job *Job, root Hash, submit Submit) [HeaderSize]byte {
	var header [HeaderSize]byte
	binary.LittleEndian.PutUint32(header[0:], submit.Version)
	copy(header[4:], job.PrevHash[:])
	copy(header[36:], root[:])
	binary.LittleEndian.PutUint32(header[68:], submit.NTime)
	binary.LittleEndian.PutUint32(header[72:], job.NBits)
	binary.LittleEndian.PutUint32(header[76:], submit.Nonce)
	return header
}

// HashHeader is the double SHA-256 of a header.
func HashHeader(header [HeaderSize]byte) Hash {
	once := sha256.Sum256(header[:])
	return sha256.Sum256(once[:])
}

// rootHasher computes merkle roots without allocating. Not safe for concurrent use.
type rootHasher struct {
	digest hash.Hash
	once   [sha256.Size]byte
}

func newRootHasher() *rootHasher { return &rootHasher{digest: sha256.New()} }

func (h *rootHasher) root(job *Job, prefix, extranonce []byte) Hash {
	// A hash.Hash never returns an error from Write.
	h.digest.Reset()
	h.digest.Write(job.CoinbasePrefix)
	h.digest.Write(prefix)
	h.digest.Write(extranonce)
	h.digest.Write(job.CoinbaseSuffix)
	h.digest.Sum(h.once[:0])

	var pair [2 * sha256.Size]byte
	node := sha256.Sum256(h.once[:])
	for i := range job.MerklePath {
		copy(pair[:], node[:])
		copy(pair[sha256.Size:], job.MerklePath[i][:])
		once := sha256.Sum256(pair[:])
		node = sha256.Sum256(once[:])
	}
	return node
}
