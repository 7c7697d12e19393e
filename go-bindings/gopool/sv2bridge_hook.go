//go:build sv2bridge

package main

import (
	"net"
	"net/http"
	"sync"
)

// This file is the contract between gopool-sv2-install and the layer (the other sv2bridge_*.go).
//
// The installer puts one call into goPool's start function, right before the statement that accepts
// Stratum V1 connections until the pool stops:
//
//	sv2bridgeStart(ctx, sv2bridgePool{...})
//
// so the layer defines
//
//	func sv2bridgeStart(ctx context.Context, pool sv2bridgePool)
//
// It is called once, on goPool's main goroutine, whether or not Stratum V2 is configured, and has to
// return at once: Stratum V1 is not served before it has. Flags are parsed, the configuration is
// loaded and checked, logging, state and status page run, the first job was asked for; ctx ends when
// goPool is told to stop. What makes a start impossible is for goPool's own fatal().
//
// The layer imports this module's packages by their usual paths; the installer rewrites them. Lines
// of the form
//
//	//sv2bridge:needs func (*MinerRegistry).Add(*MinerConn)
//	//sv2bridge:if    func stratumHealthStatus
//	//sv2bridge:unless func stratumHealthStatus
//
// say what of goPool a file is written against: the installer refuses a goPool that lacks something
// needed, and leaves files out whose condition fails. What can be named: `func F`, `func (*T).M`
// (both also with their types, as above), `type T`, `var V`, `field T.F` (also with its type).

//sv2bridge:needs type Config
//sv2bridge:needs type JobManager
//sv2bridge:needs type MinerConn
//sv2bridge:needs type MinerRegistry
//sv2bridge:needs type reconnectTracker

// sv2bridgePool is what goPool has in scope where the layer is started. The installer fills all of it
// in, with the names and calls that it finds in goPool's own accept loop.
type sv2bridgePool struct {
	// jobMgr makes the jobs. It was started.
	jobMgr *JobManager

	// registry has every connection of the pool. What is in it counts toward the connection limit, is
	// on the admin page, and is told to reconnect and closed when the pool stops.
	registry *MinerRegistry

	// reconnectLimiter limits how often an address may connect. Nil when it is switched off.
	reconnectLimiter *reconnectTracker

	// connWg is waited for, 10 seconds at most, when the pool stops, before its database is closed.
	// Add(1) before sv2bridgeStart returns and Done() when everything has ended: then later Adds can't
	// meet the Wait with a count of zero.
	connWg *sync.WaitGroup

	// mux is where goPool serves HTTP. Nil when that could not be told.
	mux *http.ServeMux

	// config is the configuration that goPool would give a connection accepted now.
	config func() Config

	// newJobManager makes another JobManager as goPool made jobMgr, but with this configuration. It is
	// not started: it has no job and asks the node for none.
	newJobManager func(cfg Config) *JobManager

	// newMinerConn makes a connection as goPool's accept loop does, on conn, with jobs from jobMgr and
	// with this configuration. It counts as plain TCP. It isn't in the registry and isn't served: the
	// caller does what the loop does (Add, connWg.Add, handle on a goroutine, Remove, connWg.Done).
	newMinerConn func(conn net.Conn, jobMgr *JobManager, cfg Config) *MinerConn
}
