// Package bindings holds the sources of this module's own packages, so that gopool-sv2-install can
// copy those that the goPool layer imports into a goPool tree, wherever the installer is run from.
// Programs have no use for it.
package bindings

import "embed"

// Sources has every Go file of the packages directly below this folder (tests included), the C header
// that one of them includes, this module's go.mod and go.sum, and the licences. Paths are relative to this folder, with `/`.
//
//go:embed */*.go gopool/*/*.go ffihost/gopool_sv2.h go.mod go.sum LICENSE-MIT LICENSE-APACHE
var Sources embed.FS
