// Package crash holds tests that cut the node program's work short at every point and
// look at what is left of the node. A fixed sample of the points is tried by default,
// all of them with CRASH_POINTS=all: see "make soak".
package crash
