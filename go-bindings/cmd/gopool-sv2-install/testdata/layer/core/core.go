// Package core is a package of ours that a layer imports.
package core

// Greeting is what a miner says.
const Greeting = "hello"
