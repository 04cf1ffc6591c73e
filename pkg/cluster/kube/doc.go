// Package kube adapts Kubernetes' API to what package fleet needs of a cluster:
// nodes and the pods that work on them, the lock, certificate signing requests,
// and what the API can tell of health, permissions and identities.
//
// Everything here outlives an API server that goes away for a while, since a
// rotation restarts API servers: reads are repeated, watches are made again, and
// what must not be lost is taken up from where it was.
package kube
