// Package kube implements the interfaces of package fleet with the Kubernetes API: nodes and node
// pods, the lock, certificate signing requests, health, permissions and identities.
//
// A rotation restarts API servers, so everything here tolerates one that is unavailable for a
// while: requests are repeated, watches are restarted, and streams continue where they broke.
package kube
