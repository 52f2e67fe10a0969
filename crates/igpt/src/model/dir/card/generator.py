
# The same network with its generative head.
model = ImageGPTForCausalImageModeling.from_pretrained(folder, dtype=torch.float32).eval()
with torch.no_grad():
    out = model(inputs)
