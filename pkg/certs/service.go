package certs

import (
	"fmt"
	"slices"
	"strings"
)

// Service is a component of Kubernetes whose certificates are rotated together.
// A certificate belongs to the service that holds its private key.
type Service string

// The services, by the names that Rancher's and kubeadm's users know.
const (
	Etcd                  Service = "etcd"
	Kubelet               Service = "kubelet"
	KubeAPIServer         Service = "kube-apiserver"
	KubeProxy             Service = "kube-proxy"
	KubeScheduler         Service = "kube-scheduler"
	KubeControllerManager Service = "kube-controller-manager"
	// Admin is the service of administrators' kubeconfigs; no component belongs to it.
	Admin Service = "admin"
)

// Services returns every service, in the order of lists.
func Services() []Service {
	return []Service{Etcd, Kubelet, KubeAPIServer, KubeProxy, KubeScheduler, KubeControllerManager, Admin}
}

// UnknownServiceError names a service that does not exist, and the existing one with the
// nearest name.
type UnknownServiceError struct {
	Name    string
	Nearest Service // empty where nothing comes near
}

func (e *UnknownServiceError) Error() string {
	text := fmt.Sprintf("unknown service %q", e.Name)
	if e.Nearest != "" {
		text += fmt.Sprintf(", did you mean %q?", e.Nearest)
	}
	return text
}

// Hint returns the next step; see package hint.
func (e *UnknownServiceError) Hint() string {
	names := make([]string, 0, len(Services()))
	for _, s := range Services() {
		names = append(names, string(s))
	}
	return "the services are " + strings.Join(names, ", ")
}

// ParseServices reads service names; duplicates are dropped and the result has
// the order of [Services]. An unknown name is an [*UnknownServiceError].
func ParseServices(names []string) ([]Service, error) {
	var found []Service
	for _, name := range names {
		s := Service(strings.ToLower(strings.TrimSpace(name)))
		if !slices.Contains(Services(), s) {
			return nil, &UnknownServiceError{Name: name, Nearest: nearestService(string(s))}
		}
		found = append(found, s)
	}
	return SortServices(found), nil
}

// SortServices returns the services once each, in the order of [Services].
func SortServices(in []Service) []Service {
	var out []Service
	for _, s := range Services() {
		if slices.Contains(in, s) {
			out = append(out, s)
		}
	}
	return out
}

// nearestService returns the service that a mistyped name most likely means, or "".
func nearestService(name string) Service {
	if name == "" {
		return ""
	}
	best := Service("")
	bestDistance := 1 << 30
	for _, s := range Services() {
		for _, candidate := range []string{string(s), strings.TrimPrefix(string(s), "kube-")} {
			if d := EditDistance(name, candidate); d < bestDistance {
				best = s
				bestDistance = d
			}
		}
	}
	if bestDistance > max(2, len(name)/3) {
		return ""
	}
	return best
}

// EditDistance counts insertions, deletions, substitutions and transpositions of neighbours
// (optimal string alignment), so that "ectd" has distance one from "etcd". It is for mistyped
// names.
func EditDistance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
