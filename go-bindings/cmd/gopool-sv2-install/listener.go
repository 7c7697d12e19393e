package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// listenerPackage is the package that calls the listener's library, by cgo.
const listenerPackage = "ffihost"

// library collects what is wrong with where the operator says that the listener's library is.
func (i *installer) library() problems {
	var wrong problems
	if i.prefix == "" {
		return nil
	}
	prefix, err := filepath.Abs(i.prefix)
	if err != nil {
		wrong.add(err.Error(), "", "give -ffi an absolute path")
		return wrong
	}
	i.prefix = prefix
	if quoted(prefix) != prefix {
		wrong.add(fmt.Sprintf("-ffi %s: a path with spaces, quotes or the like", prefix),
			"pkg-config and cgo take none", "make install-lib PREFIX= another folder")
		return wrong
	}
	for _, name := range []string{"lib/pkgconfig/gopool-sv2.pc", "lib/libgopool_sv2.a", "include/gopool_sv2.h"} {
		if _, err := os.Stat(filepath.Join(prefix, name)); err != nil {
			wrong.add(fmt.Sprintf("-ffi %s: %v", prefix, err), "the listener's library is not installed there",
				"in a checkout of gopool-sv2: make install-lib PREFIX="+prefix)
			break
		}
	}
	return wrong
}

// libraryBuild is what a build line has more for a goPool with the listener inside.
type libraryBuild struct {
	// folder has to be there, empty, below goPool's: the go command runs cgo in the folder of its
	// package, also when all that is in it comes of an overlay.
	folder      string
	environment string
	flags       string
}

// withLibrary is nothing without -ffi. The archive comes before what pkg-config says, and as-needed
// leaves the shared library out then: goPool needs nothing more at run time.
func (i *installer) withLibrary() libraryBuild {
	if i.prefix == "" {
		return libraryBuild{}
	}
	lib := filepath.Join(i.prefix, "lib")
	return libraryBuild{
		folder: folder + "/" + listenerPackage,
		environment: "CGO_ENABLED=1 PKG_CONFIG_PATH=" + filepath.Join(lib, "pkgconfig") + `:"$PKG_CONFIG_PATH"` +
			` CGO_LDFLAGS="` + filepath.Join(lib, "libgopool_sv2.a") + ` -lm -lpthread -ldl -Wl,--as-needed $CGO_LDFLAGS" `,
		flags: " -tags sv2_pkgconfig",
	}
}
