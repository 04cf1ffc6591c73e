// Package component deals with what runs on a node: it asks endpoints what they serve
// and how they are, verifies client certificates, asks etcd about its members, and stops
// components so that their supervisors start them again.
package component
