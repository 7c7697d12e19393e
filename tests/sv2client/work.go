// What a channel mines: from a job to the hash of a header.

package sv2client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// VersionRollingMask are the bits of the version that a miner may change (BIP323: 5 to 28).
const VersionRollingMask = 0x1fffffe0

// HeaderSize is the length of a block header in bytes.
const HeaderSize = 80

// ChannelKind is standard or extended.
type ChannelKind uint8

const (
	// Standard channels are given merkle roots.
	Standard ChannelKind = iota
	// Extended channels are given coinbases, in which they roll an extranonce.
	Extended
)

// String is the kind's name.
func (k ChannelKind) String() string {
	if k == Standard {
		return "standard"
	}
	return "extended"
}

// job is what arrived with NewMiningJob or NewExtendedMiningJob, with the channel's state at that time.
type job struct {
	id             uint32
	future         bool
	version        uint32
	versionRolling bool
	standardRoot   Hash // of a standard channel
	extended       *NewExtendedMiningJob
	prefix         []byte
	target         Target
}

// Work is a job that is to be mined now. It never changes; new work replaces it.
type Work struct {
	// Revision rises by at least one whenever the channel's work changes.
	Revision uint64
	// Kind is the channel's.
	Kind ChannelKind
	// JobID is what a share names.
	JobID uint32
	// Version of the header; bits of VersionRollingMask may change if VersionRolling.
	Version        uint32
	VersionRolling bool
	// PrevHash is the tip that is mined on, NBits the compact target of a block on it.
	PrevHash Hash
	NBits    uint32
	// MinNTime is the first ntime. It may be rolled by the seconds that passed since Since.
	MinNTime uint32
	// Since is when the work arrived.
	Since time.Time
	// Target is what a share must meet. After SetTarget a job that came as a future job has the harder
	// of its targets: the specification makes the new one hold, some pools keep the old one.
	Target Target
	// ExtranonceSize is how many bytes an extended channel rolls; 0 on a standard channel.
	ExtranonceSize int

	job *job
}

// SameJob says whether only the target differs, so that a search can go on where it is.
func (w Work) SameJob(other Work) bool { return w.job == other.job }

// MerkleRoot is the root for an extranonce of exactly ExtranonceSize bytes (chapter 5.3.16); empty on a
// standard channel.
func (w Work) MerkleRoot(extranonce []byte) (Hash, error) {
	if w.job == nil {
		return Hash{}, errors.New("this work was not given by a channel")
	}
	if len(extranonce) != w.ExtranonceSize {
		return Hash{}, fmt.Errorf("extranonce of %d bytes instead of %d",
			len(extranonce), w.ExtranonceSize)
	}
	if w.Kind == Standard {
		return w.job.standardRoot, nil
	}
	return merkleRoot(w.job.extended, w.job.prefix, extranonce), nil
}

// merkleRoot folds the coinbase's txid with the merkle path.
func merkleRoot(job *NewExtendedMiningJob, prefix, extranonce []byte) Hash {
	size := len(job.CoinbasePrefix) + len(prefix) + len(extranonce) + len(job.CoinbaseSuffix)
	coinbase := make([]byte, 0, size)
	for _, part := range [][]byte{job.CoinbasePrefix, prefix, extranonce, job.CoinbaseSuffix} {
		coinbase = append(coinbase, part...)
	}
	root := doubleSHA256(coinbase)
	for _, node := range job.MerklePath {
		root = doubleSHA256(append(root[:], node[:]...))
	}
	return root
}

// Header is the block header of a share on this work, with the merkle root for its extranonce.
func (w Work) Header(share Share, root Hash) [HeaderSize]byte {
	var header [HeaderSize]byte
	binary.LittleEndian.PutUint32(header[0:], share.Version)
	copy(header[4:], w.PrevHash[:])
	copy(header[36:], root[:])
	binary.LittleEndian.PutUint32(header[68:], share.NTime)
	binary.LittleEndian.PutUint32(header[72:], w.NBits)
	binary.LittleEndian.PutUint32(header[76:], share.Nonce)
	return header
}

// HashHeader is the double SHA-256 of a header.
func HashHeader(header *[HeaderSize]byte) Hash { return doubleSHA256(header[:]) }

// Share is a header that was found, by the parts that a miner chooses.
type Share struct {
	// JobID is the work's.
	JobID uint32
	// Nonce and NTime are those of the header.
	Nonce, NTime uint32
	// Version is the whole version of the header.
	Version uint32
	// Extranonce is of the size that the channel was granted; empty on a standard channel.
	Extranonce []byte
	// Worker names who found it, where the extension for that was negotiated (0x0002); at most 32
	// bytes. Empty: nothing is sent. Extended channels only.
	Worker string
}

// Hash is the hash of the share's header on this work.
func (w Work) Hash(share Share) (Hash, error) {
	root, err := w.MerkleRoot(share.Extranonce)
	if err != nil {
		return Hash{}, err
	}
	header := w.Header(share, root)
	return HashHeader(&header), nil
}
