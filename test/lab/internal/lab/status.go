package lab

// Status is what `lab status` prints.
type Status struct {
	Name         string       `json:"name"`
	Running      bool         `json:"running"`
	Missing      string       `json:"missing,omitempty"` // what should run and does not
	Ready        bool         `json:"ready"`             // it came up once
	Shape        Spec         `json:"shape"`
	Nodes        []NodeStatus `json:"nodes"`
	Endpoint     string       `json:"endpoint"`
	Namespace    string       `json:"networkNamespace"`
	Kubeconfig   string       `json:"kubeconfig"`
	BalancerPID  int          `json:"balancerPID,omitempty"`
	BalancerLog  string       `json:"balancerLog,omitempty"`
	TestboxImage string       `json:"testboxImage"`
}

// NodeStatus is one node in a Status.
type NodeStatus struct {
	Name      string `json:"name"`
	Role      Role   `json:"role"`
	IP        string `json:"ip"`
	PodCIDR   string `json:"podCIDR"`
	On        bool   `json:"on"`
	LeaderPID int    `json:"leaderPID"`
	Console   string `json:"console"`
	Changes   string `json:"changes"` // host directory with what differs from a fresh node
}

// Status describes the lab as it is now.
func (l *Lab) Status(testbox string) Status {
	missing, running := l.running()
	s := Status{
		Name: l.Spec.Name, Running: running, Missing: missing, Ready: l.Ready, Shape: l.Spec,
		Endpoint: "https://" + l.endpoint(), Namespace: string(l.namespace()), Kubeconfig: l.Kubeconfig(),
		TestboxImage: testbox,
	}
	if l.Spec.LoadBalancer {
		s.BalancerPID, s.BalancerLog = l.Balancer.PID, l.path("balancer.log")
	}
	for _, n := range l.Nodes {
		status := NodeStatus{Name: n.Name, Role: n.Role, IP: n.IP, PodCIDR: n.PodCIDR, On: n.Leader.Alive(), Console: n.ConsoleLog(), Changes: n.Upper()}
		if status.On {
			status.LeaderPID = n.Leader.PID
		}
		s.Nodes = append(s.Nodes, status)
	}
	return s
}
