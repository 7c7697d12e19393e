// A small pool in the newer shape: main calls run, and more happens around the accept loop.
package main

import "os"

func main() {
	os.Exit(run())
}
