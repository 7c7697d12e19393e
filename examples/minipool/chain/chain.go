// The life of a chain: opening, the tip, subscriptions, closing.

package chain

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/database"
	"github.com/btcsuite/btcd/mempool"
	"github.com/btcsuite/btcd/mining"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

const (
	utxoCacheBytes   = 4 << 20
	scriptCacheItems = 1000

	minRelayFee = btcutil.Amount(1000) // satoshis per 1000 virtual bytes

	coinbaseWeightReserve = 16_000 // weight left free for the coinbase of the pool
	maxTxSigOpCost        = blockchain.MaxBlockSigOpsCost / 4
)

// ErrClosed is returned by methods of a Chain after Close.
var ErrClosed = errors.New("the chain is closed")

// Options are the settings of Open.
type Options struct {
	// DataDir is where blocks and the wallet key are kept. It is created with mode 0700. Empty
	// means a temporary directory and a key in memory, both gone after Close.
	DataDir string

	// NetworkBits is the compact target of every block (see ValidateBits); zero is an error.
	// DefaultNetworkBits suits a demonstration with CPU miners.
	NetworkBits uint32

	// Logger receives new tips and recoveries; nil discards them. btcd's own loggers are
	// process-wide and stay silent.
	Logger *slog.Logger
}

// Chain is the blockchain, its mempool and the wallet. Create it with Open; end it with Close.
// All methods may be called from any goroutine.
type Chain struct {
	log    *slog.Logger
	params *chaincfg.Params

	// mu orders everything that reads or moves the tip: with it held, tip, mempool, wallet and
	// the cached template agree with each other.
	mu        sync.Mutex
	closed    bool
	store     *store
	blocks    *blockchain.BlockChain
	time      blockchain.MedianTimeSource
	sigCache  *txscript.SigCache
	hashCache *txscript.HashCache
	pool      *mempool.TxPool
	generator *mining.BlkTmplGenerator
	wallet    *wallet
	synced    chainhash.Hash     // the tip that mempool and wallet reflect
	cached    *template.Template // for the tip synced; nil until asked for

	subMu sync.Mutex
	subs  map[chan struct{}]struct{}
}

// Open starts the chain: it creates it, or continues one kept in opts.DataDir at the same tip, also
// after a crash. It blocks while it reads the kept blocks once, to find the wallet's outputs.
//
// Errors say the remedy: bits that are no target, a DataDir that was created with other bits or is
// in use by another process, a wallet key that is damaged or readable by others.
func Open(opts Options) (*Chain, error) {
	if err := ValidateBits(opts.NetworkBits); err != nil {
		return nil, fmt.Errorf("open chain: %w", err)
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	params := Params(opts.NetworkBits)
	st, err := openStore(opts.DataDir, params, log)
	if err != nil {
		return nil, fmt.Errorf("open chain: %w", err)
	}
	c := &Chain{
		log:       log,
		params:    params,
		store:     st,
		time:      blockchain.NewMedianTime(),
		sigCache:  txscript.NewSigCache(scriptCacheItems),
		hashCache: txscript.NewHashCache(scriptCacheItems),
		subs:      make(map[chan struct{}]struct{}),
	}
	if err := c.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open chain: %w", err), st.close(false))
	}
	hash, height := c.Tip()
	log.Debug("chain opened", "height", height, "tip", chainhash.Hash(hash))
	return c, nil
}

// load brings up consensus state, the blocks of an unclean stop, the wallet and the mempool.
func (c *Chain) load() error {
	if err := c.loadBlocks(); err != nil {
		return err
	}
	replayed, err := c.store.replay(c.blocks)
	if err != nil {
		return err
	}
	if replayed {
		if err := c.keepReplayed(); err != nil {
			return fmt.Errorf("keep the blocks of the journal: %w", err)
		}
	}
	if c.wallet, err = newWallet(c.store.key, c.params); err != nil {
		return err
	}
	return c.resync()
}

// keepReplayed brings the replayed blocks into the database for good and empties the journal, which
// would otherwise grow from crash to crash. Only closing makes the database write everything.
func (c *Chain) keepReplayed() error {
	if err := c.blocks.FlushUtxoCache(blockchain.FlushRequired); err != nil {
		return fmt.Errorf("write unspent outputs: %w", err)
	}
	if err := c.store.reopen(c.params); err != nil {
		return err
	}
	if err := c.loadBlocks(); err != nil {
		return err
	}
	return c.store.journal.clear()
}

// loadBlocks brings up consensus state from the database.
func (c *Chain) loadBlocks() error {
	var err error
	c.blocks, err = blockchain.New(&blockchain.Config{
		DB:               c.store.db,
		UtxoCacheMaxSize: utxoCacheBytes,
		ChainParams:      c.params,
		TimeSource:       c.time,
		SigCache:         c.sigCache,
		HashCache:        c.hashCache,
	})
	if err != nil {
		// btcd says so when the genesis block is another.
		return fmt.Errorf("load block index: %w (the data directory %s is damaged or holds "+
			"another chain: choose another directory or remove this one)", err, c.store.dir)
	}
	return nil
}

// resync builds mempool and wallet anew for the current tip. The mempool holds nothing but
// transactions of the wallet, which makes them again.
func (c *Chain) resync() error {
	c.pool = c.newMempool()
	c.generator = mining.NewBlkTmplGenerator(&mining.Policy{
		BlockMaxWeight: blockchain.MaxBlockWeight - coinbaseWeightReserve,
		TxMinFreeFee:   minRelayFee,
	}, c.params, c.pool, c.blocks, c.time, c.sigCache, c.hashCache)
	c.cached = nil
	c.wallet.reset()
	best := c.blocks.BestSnapshot()
	for height := int32(1); height <= best.Height; height++ {
		block, err := c.blocks.BlockByHeight(height)
		if err != nil {
			return fmt.Errorf("wallet scan at height %d: %w", height, err)
		}
		c.wallet.scan(block, height)
	}
	c.synced = best.Hash
	c.wallet.fillMempool(c.pool, best.Height+1, c.log)
	return nil
}

func (c *Chain) newMempool() *mempool.TxPool {
	return mempool.New(&mempool.Config{
		Policy: mempool.Policy{
			MaxTxVersion:         2,
			DisableRelayPriority: true,
			MaxSigOpCostPerTx:    maxTxSigOpCost,
			MinRelayTxFee:        minRelayFee,
			RejectReplacement:    true,
		},
		ChainParams:    c.params,
		FetchUtxoView:  c.blocks.FetchUtxoView,
		BestHeight:     func() int32 { return c.blocks.BestSnapshot().Height },
		MedianTimePast: func() time.Time { return c.blocks.BestSnapshot().MedianTime },
		CalcSequenceLock: func(
			tx *btcutil.Tx, view *blockchain.UtxoViewpoint,
		) (*blockchain.SequenceLock, error) {
			return c.blocks.CalcSequenceLock(tx, view, true)
		},
		IsDeploymentActive: c.blocks.IsDeploymentActive,
		SigCache:           c.sigCache,
		HashCache:          c.hashCache,
	})
}

// Tip returns the hash (internal byte order) and the height of the best block. The genesis block
// has height 0. After Close it goes on returning the last tip.
func (c *Chain) Tip() (hash [32]byte, height int32) {
	best := c.blocks.BestSnapshot()
	return best.Hash, best.Height
}

// Params returns the parameters of this chain. They must not be changed.
func (c *Chain) Params() *chaincfg.Params { return c.params }

// PoolScript returns the P2WPKH output script (22 bytes) of the wallet. What a coinbase pays to it
// the wallet later spends, which is what puts transactions into templates. The slice is the
// caller's.
func (c *Chain) PoolScript() []byte { return append([]byte(nil), c.wallet.script...) }

// Subscribe returns a channel that receives a value after the tip has changed, and a function that
// ends the subscription. Changes coalesce: a slow reader finds one value, and asks Tip or Template
// for the present state. The channel is never closed, not by Close either.
func (c *Chain) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	c.subMu.Lock()
	defer c.subMu.Unlock()
	c.subs[ch] = struct{}{}
	return ch, func() {
		c.subMu.Lock()
		defer c.subMu.Unlock()
		delete(c.subs, ch)
	}
}

func (c *Chain) notify() {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	for ch := range c.subs {
		select {
		case ch <- struct{}{}:
		default: // one is waiting already, that is enough
		}
	}
}

func (c *Chain) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close writes everything to disk and releases the data directory (a temporary one is removed). It
// waits for a Submit or Template in progress; later calls of these return ErrClosed. Closing twice
// is harmless.
func (c *Chain) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	flushErr := c.blocks.FlushUtxoCache(blockchain.FlushRequired)
	if flushErr != nil {
		flushErr = fmt.Errorf("write unspent outputs: %w", flushErr)
	}
	if err := errors.Join(flushErr, c.store.close(flushErr == nil)); err != nil {
		return fmt.Errorf("close chain: %w", err)
	}
	return nil
}

// openDatabase opens btcd's block database at path or creates it.
func openDatabase(path string, params *chaincfg.Params) (database.DB, error) {
	db, err := database.Open(databaseType, path, params.Net)
	var dbErr database.Error
	if errors.As(err, &dbErr) && dbErr.ErrorCode == database.ErrDbDoesNotExist {
		db, err = database.Create(databaseType, path, params.Net)
	}
	if err != nil {
		return nil, fmt.Errorf("block database %s: %w (is another process using the directory? "+
			"stop it or choose another directory)", path, err)
	}
	return db, nil
}

// makeDir creates the data directory, or a temporary one when path is empty.
func makeDir(path string) (dir string, temporary bool, err error) {
	if path == "" {
		dir, err = os.MkdirTemp("", "minipool-chain-")
		return dir, true, err
	}
	return path, false, os.MkdirAll(path, 0o700)
}
