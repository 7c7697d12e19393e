//go:build ignore

package main

func main() {
	NewMinerConn(1, 2, 3)
}
